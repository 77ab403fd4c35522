"""Rewards: their mean beside the baseline, jumps, what they are made of, and what decisions cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from agent_core.monitoring.moments import ColumnMoments
from agent_core.monitoring.rewards import RewardSums, correlation_z, jump_z
from agent_core.types import Doubles
from service.monitoring.readings import Reading, finite
from service.monitoring.rows import Outcome
from service.policies.config import PolicyConfig

COST: Final = "cost"
_WARNING: Final = 2.0
"""Standard errors below the baseline: about one window in forty, without any change, so a trip needs more."""
_CAUTION: Final = 1.0
"""Standard errors of the baseline by which a window must be lower still to count towards a trip. A baseline that is
a little too high by chance makes all windows low together: of 4,000 simulated runs of 200 unchanged windows of 1,000
rewards, beside a baseline of 2,000, 7 % tripped at 3 of 5 without this, and 0.9 % with it."""
_JUMP: Final = 2.0
"""Times as many errors as for another difference: a learner that goes live may jump honestly."""
_CORRELATED: Final = 0.2
"""A component that hardly went along with the total cannot part from it."""


@dataclass(frozen=True, slots=True)
class Rewards:
    """`parts`: names of components, weighted ones first, and last the cost. `signs`: -1 where less of it is worse, +1
    where more is, 0 where either is a difference. `range`: of the total. `baseline`: as declared. `errors`: from
    which means count as different."""

    parts: tuple[str, ...]
    signs: tuple[int, ...]
    range: tuple[float, float]
    baseline: float | None
    errors: float
    name: str = "rewards"
    kind: Any = RewardSums

    @classmethod
    def declared(cls, config: PolicyConfig) -> Rewards:
        reward, trip = config.reward, config.trips.reward
        weighted = [-1 if weight > 0 else 1 for weight in reward.components.values()]
        limits = trip.range if trip is not None and trip.range is not None else (-np.inf, np.inf)
        return cls(
            (*reward.components, *reward.guards, COST),
            (*weighted, *(0 for _ in reward.guards), 1),
            limits,
            config.monitoring.baseline,
            config.monitoring.errors,
        )

    def of(self, rows: Sequence[Outcome]) -> RewardSums | None:
        joined = [row.joined for row in rows if row.joined.reward is not None]
        if not joined:
            return None
        parts = [
            [*(one.components.get(n, 0.0) for n in self.parts[:-1]), one.cost] for one in joined
        ]
        total = np.array([one.reward for one in joined], np.float64)
        low = np.full(len(self.parts) + 1, -np.inf)
        high = -low
        low[-1], high[-1] = self.range
        return RewardSums.of(np.array(parts, np.float64), total, low, high)

    def read(
        self, window: RewardSums, reference: RewardSums | None, before: RewardSums | None
    ) -> list[Reading]:
        found = [self._range(window)]
        if reference is not None or self.baseline is not None:
            found.append(self._mean(window, reference))
        if reference is not None:
            found += self._parts(window, reference) + self._correlations(window, reference)
        if reference is not None and before is not None:
            found.append(self._jump(window, before))
        return found

    def _mean(self, window: RewardSums, reference: RewardSums | None) -> Reading:
        mean, expected = float(window.columns.mean[-1]), expected_reward(reference, self.baseline)
        limit = expected - _WARNING * reward_error(window, reference, self.baseline)
        is_severe = mean < limit - _CAUTION * baseline_error(reference, self.baseline)
        return Reading(
            signal="reward", value=mean, limit=limit, is_beyond=mean < limit, is_severe=is_severe
        )

    def _jump(self, window: RewardSums, before: RewardSums) -> Reading:
        z, limit = finite(float(jump_z(window, before)[-1])), _JUMP * self.errors
        return Reading(signal="too_good", value=z, limit=limit, is_beyond=z > limit)

    def _range(self, window: RewardSums) -> Reading:
        outside = float(window.outside[-1])
        return Reading(signal="range", value=outside, limit=0.0, is_beyond=outside > 0)

    def _parts(self, window: RewardSums, reference: RewardSums) -> list[Reading]:
        found = []
        for part, sign, z in zip(self.parts, self.signs, jump_z(window, reference), strict=False):
            worse = finite(abs(float(z)) if sign == 0 else sign * float(z))
            is_beyond = worse > self.errors
            found.append(
                Reading(
                    signal="components",
                    kind=part,
                    value=worse,
                    limit=self.errors,
                    is_beyond=is_beyond,
                )
            )
        return found

    def _correlations(self, window: RewardSums, reference: RewardSums) -> list[Reading]:
        z, was = correlation_z(window, reference), reference.correlations
        limit = _JUMP * self.errors
        found = []
        for at, sign in enumerate(self.signs[:-1]):
            # A positive weight goes with the total, a negative one against it.
            lost = finite(float(sign * z[at]))
            if sign != 0 and -sign * was[at] >= _CORRELATED:
                found.append(
                    Reading(
                        signal="correlation",
                        kind=self.parts[at],
                        value=lost,
                        limit=limit,
                        is_beyond=lost > limit,
                    )
                )
        return found


def expected_reward(reference: RewardSums | None, baseline: float | None) -> float:
    """The declared mean, or else the frozen one."""
    if baseline is not None:
        return baseline
    assert reference is not None
    return float(reference.columns.mean[-1])


def reward_error(window: RewardSums, reference: RewardSums | None, baseline: float | None) -> float:
    """The standard error between the window's mean and the expected one, which is exact where it is declared.

    Its spread is the reference's where there is one: a window that changed cannot hide in its own.
    """
    spread = float((reference or window).columns.variance[-1])
    counts = 1 / window.columns.count
    if reference is not None and baseline is None:
        counts += 1 / reference.columns.count
    return float(np.sqrt(spread * counts))


def baseline_error(reference: RewardSums | None, baseline: float | None) -> float:
    """The standard error of the expected mean; 0 where it is declared."""
    if reference is None or baseline is not None:
        return 0.0
    return float(np.sqrt(reference.columns.variance[-1] / reference.columns.count))


def total_moments(sums: RewardSums) -> ColumnMoments:
    """Of the total alone."""
    columns = sums.columns
    last: Doubles = columns.mean[-1:]
    return ColumnMoments(columns.count, last, columns.scatter[-1:])
