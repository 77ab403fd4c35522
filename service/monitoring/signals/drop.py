"""What a window says for a fallen mean reward, as the log of a ratio: what the e-detector is fed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from msgspec import Struct

from agent_core.monitoring.evidence import Span, drop_bet, drop_log_ratio
from agent_core.monitoring.moments import cautious_mean
from agent_core.monitoring.rewards import RewardSums
from agent_core.monitoring.storage import Stored
from service.monitoring.readings import Reading
from service.monitoring.rows import Outcome
from service.monitoring.signals.rewards import total_moments
from service.policies.config import PolicyConfig

_CAUTION: Final = 2.0
"""Standard errors that a measured baseline may be too high by, before the detector's promise is broken."""
_SEEN_IN_A_WINDOW: Final = 2.0
"""Standard errors of a window's mean: the fall that the bet is best at."""


class Bet(Struct, frozen=True):
    """Fixed before the rewards that it is about. `expected`: the mean that rewards do not fall below without a
    change. `size`: of `drop_log_ratio`. `low`, `high`: the declared range."""

    expected: float
    size: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class DropSums(Stored):
    """The log of the product of `count` ratios."""

    count: int
    log_ratio: float

    def merged(self, other: DropSums) -> DropSums:
        return DropSums(self.count + other.count, self.log_ratio + other.log_ratio)


@dataclass(frozen=True, slots=True)
class Drop:
    """`bet`: None while there is no baseline; then nothing is summed."""

    bet: Bet | None
    name: str = "drop"
    kind: Any = DropSums

    def of(self, rows: Sequence[Outcome]) -> DropSums | None:
        rewards = [row.joined.reward for row in rows if row.joined.reward is not None]
        if self.bet is None or not rewards:
            return None
        span = Span(self.bet.low, self.bet.high)
        logs = drop_log_ratio(np.array(rewards), span, self.bet.expected, self.bet.size)
        return DropSums(len(rewards), float(logs.sum()))

    def read(self, window: DropSums, reference: Any, before: Any) -> list[Reading]:
        """Nothing: one window is no evidence, and the detector remembers all of them."""
        return []


def bet_of(config: PolicyConfig, reference: RewardSums | None) -> Bet | None:
    """The bet of a policy that declares a range; None for others, and while there is no baseline."""
    trip, declared = config.trips.reward, config.monitoring.baseline
    if trip is None or trip.range is None or (declared is None and reference is None):
        return None
    low, high = trip.range
    if reference is not None:
        total = total_moments(reference)
        expected = float(cautious_mean(total, _CAUTION)[0])
        variance = float(total.variance[0])
    else:
        assert declared is not None
        expected, variance = declared, max((declared - low) * (high - declared), 0.0)
    expected = expected if declared is None else declared
    # Inside the range: a baseline at its edge leaves nothing to bet on, and none beyond it can be kept.
    expected = min(max(expected, low), high - 1e-9 * (high - low))
    changed = expected - _SEEN_IN_A_WINDOW * math.sqrt(variance / config.monitoring.window)
    size = drop_bet(Span(low, high), expected, variance, changed) if variance > 0 else 0.5
    return Bet(expected, size, low, high)
