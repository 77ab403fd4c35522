"""What an alarm has to remember, as small immutable states.

Logs of ratios come from `evidence`: one a reward, or their sum one a window, and thresholds count in the same
unit. A state that tripped stays so; whoever recovers begins a new one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from agent_core.monitoring.storage import Stored
from agent_core.types import Doubles, Mask

_MOST: Final = 690.0
"""Logs are cut off here, so that what gauges show, exp of them, stays finite."""


@dataclass(frozen=True, slots=True, eq=False)
class Repeats(Stored):
    """Trips when `needed` of the last `of` windows were bad. `recent`: `[of]`, the last one last."""

    needed: int
    recent: Mask

    @classmethod
    def start(cls, needed: int, of: int) -> Repeats:
        return cls(needed, np.zeros(of, np.bool_))

    def after(self, is_bad: bool) -> Repeats:
        return replace(self, recent=np.append(self.recent[1:], is_bad))

    @property
    def is_tripped(self) -> bool:
        """Unlike the others, this one also recovers by itself."""
        return int(self.recent.sum()) >= self.needed


@dataclass(frozen=True, slots=True)
class Cusum(Stored):
    """S = max(0, S + ln L), tripped at `threshold` (Page 1954).

    `value`: S. `highest`: the largest that it has been.
    """

    threshold: float
    value: float = 0.0
    highest: float = 0.0

    def after(self, log_ratios: Doubles) -> Cusum:
        """`log_ratios`: `[T]`."""
        sums = np.concatenate([[self.value], self.value + np.cumsum(log_ratios)])
        values = sums - np.minimum(np.minimum.accumulate(sums), 0.0)
        top = max(self.highest, float(values.max()))
        return replace(self, value=min(float(values[-1]), _MOST), highest=min(top, _MOST))

    @property
    def is_tripped(self) -> bool:
        return self.highest >= self.threshold


@dataclass(frozen=True, slots=True)
class EDetector(Stored):
    """M = L (M + 1), tripped at `run_length` (Shin, Ramdas & Rinaldo 2022, of the
    Shiryaev-Roberts kind).

    The mean number of ratios until an alarm without a change is at least `run_length`, whatever the distribution
    is, provided that no ratio's mean is above 1 before the change. `log_value`: ln M. `highest`: the largest that
    it has been.
    """

    run_length: float
    log_value: float = -math.inf
    highest: float = -math.inf

    def after(self, log_ratios: Doubles) -> EDetector:
        """`log_ratios`: `[T]`."""
        # M_t = e^(S_t) (M_0 + sum over j < t of e^(-S_j)) for the sums S of log ratios.
        sums = np.cumsum(log_ratios)
        begun = np.concatenate([[self.log_value, 0.0], -sums[:-1]])
        values = sums + np.logaddexp.accumulate(begun)[1:]
        top = max(self.highest, float(values.max()))
        return replace(self, log_value=min(float(values[-1]), _MOST), highest=min(top, _MOST))

    @property
    def is_tripped(self) -> bool:
        return self.highest >= math.log(self.run_length)


@dataclass(frozen=True, slots=True)
class EProcess(Stored):
    """The sum, over every moment at which harm may begin, of its share of 1 times the product of ratios since then;
    tripped at 1 / `alpha`.

    While a cost's conditional mean is within its budget it ever trips with probability `alpha` at most (Ville
    1939): what has not begun yet is kept as it is, and each part that has is 1 or less on average. An e-detector
    (Shin, Ramdas & Rinaldo 2024) gives each moment 1 instead, and so promises only how long it runs on average. Harm
    after a long good time is seen late by ln t + 2 ln ln t in the log of what is needed, where a single product
    is late by as much as the good time lost. `count`: ratios so far, t. `log_begun`: ln of the parts that have
    begun. `highest`: the largest that `log_wealth` has been.
    """

    alpha: float
    count: int = 0
    log_begun: float = -math.inf
    highest: float = 0.0

    def after(self, log_ratios: Doubles) -> EProcess:
        """`log_ratios`: `[T]`."""
        times = self.count + np.arange(1.0, len(log_ratios) + 1)
        sums = np.cumsum(log_ratios)
        before = np.concatenate([[0.0], sums[:-1]])
        begun = np.concatenate([[self.log_begun], _log_share(times) - before])
        values = np.minimum(sums + np.logaddexp.accumulate(begun)[1:], _MOST)
        top = float(np.logaddexp(values, _log_rest(times)).max())
        return replace(
            self,
            count=self.count + len(log_ratios),
            log_begun=float(values[-1]),
            highest=min(max(self.highest, top), _MOST),
        )

    @property
    def log_wealth(self) -> float:
        """ln of the sum now."""
        return float(np.logaddexp(self.log_begun, _log_rest(np.float64(self.count))))

    @property
    def is_tripped(self) -> bool:
        return self.highest >= -math.log(self.alpha)


def _log_rest(times: Doubles | np.float64) -> Doubles:
    """ln of what begins after t ratios, 1 / (1 + ln(1 + t)): all of 1 before the first."""
    return -np.log1p(np.log1p(times))


def _log_share(times: Doubles) -> Doubles:
    """ln of what begins with the ratio t, counted from 1: by so much the rest falls."""
    fallen = np.log(np.log1p(1 / times))
    return fallen + _log_rest(times - 1) + _log_rest(times)
