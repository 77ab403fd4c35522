"""A canary against the stable version, looked at as often as one likes.

An interval that holds at every moment at once: a z-test at each look would roll back a third of all canaries that
are as good as the stable version. Larger is better in all of this; hand in costs and latencies negated. Letters:
T rows, d columns (reward, cost, latency).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from agent_core.monitoring.moments import ColumnMoments
from agent_core.monitoring.storage import Stored
from agent_core.monitoring.tails import pair_count
from agent_core.types import Doubles

Verdict: TypeAlias = Literal["promote", "roll back", "continue", "ask a person"]


class Interval(NamedTuple):
    """`low` and `high`, `[d]` each: either end is wrong, at any time, with the probability that was asked for."""

    low: Doubles
    high: Doubles


@dataclass(frozen=True, slots=True, eq=False)
class Difference(Stored):
    """The mean of the canary less that of the stable version, as sums over the steps of a rollout.

    `size`: rows of the smaller arm. `total`: `[d]`, differences of steps times their sizes. `spread`: `[d]`,
    variances of these.
    """

    size: int
    total: Doubles
    spread: Doubles

    @classmethod
    def of(cls, canary: ColumnMoments, stable: ColumnMoments) -> Difference:
        """Of one step, in which the canary's share of traffic stayed the same.

        The variance is var_c / n_c + var_s / n_s, and not less than if both arms had that of all rows: a canary
        that missed its rare rewards so far would look certain to miss them (of equal canaries with a tenth of the
        traffic and .004 clicks a row, looked at every 100 rows of theirs, .01 were rolled back so, and .22 without).
        """
        size = min(canary.count, stable.count)
        apart = canary.variance / canary.count + stable.variance / stable.count
        within = (canary.scatter + stable.scatter) / max(canary.count + stable.count - 2, 1)
        alike = within / pair_count(canary.count, stable.count)
        variance = np.maximum(apart, alike)
        return cls(size, size * (canary.mean - stable.mean), size**2 * variance)

    def merged(self, other: Difference) -> Difference:
        """Of two steps. Arms are never pooled over steps: when rewards and the canary's share both change, an arm
        has more rows of good times than the other, and looks better for it (Simpson's paradox)."""
        total, spread = self.total + other.total, self.spread + other.spread
        return Difference(self.size + other.size, total, spread)

    @property
    def value(self) -> Doubles:
        """`[d]`."""
        return self.total / self.size

    @property
    def variance(self) -> Doubles:
        """`[d]`, of `value`."""
        return self.spread / self.size**2


def asymptotic_interval(difference: Difference, alpha: float, n_opt: int) -> Interval:
    """The asymptotic confidence sequence (Waudby-Smith et al. 2024, Theorem 2.2 with 2 `alpha`: either end alone
    is wrong with probability `alpha`, below 0.5).

    `n_opt`: the size at which it is tightest. With an `alpha` of 0.05 an end is 2.8 standard errors away there.
    """
    rho2 = _tightest_at(n_opt, alpha)
    clock = difference.size * rho2 + 1
    widths = math.sqrt(2 * clock / (clock - 1) * math.log(math.sqrt(clock) / (2 * alpha)))
    radius = np.sqrt(difference.variance) * widths
    return Interval(difference.value - radius, difference.value + radius)


class Plan(NamedTuple):
    """When a canary is decided. `margin`: by how much it may be worse, at least 0. `n_min`: below this size
    nothing is decided; asymptotics ask for a hundred rows, and for some ten rewards where those are rare.
    `n_max`: from this size on a person is asked."""

    margin: float
    n_min: int
    n_max: int


def decide(interval: Interval, size: int, plan: Plan, column: int = 0) -> Verdict:
    """What to do with a canary whose difference in `column` is in `interval`, after `size` rows of the smaller arm.

    Roll back once it is surely worse, promote once it is surely not worse by more than the margin.
    """
    if size < plan.n_min:
        return "continue"
    if interval.high[column] < 0:
        return "roll back"
    if interval.low[column] > -plan.margin:
        return "promote"
    return "continue" if size < plan.n_max else "ask a person"


def _tightest_at(n_opt: int, alpha: float) -> float:
    """rho^2 that makes the interval smallest at `n_opt`."""
    log = -2 * math.log(2 * alpha)
    return (log + math.log(log + 1)) / n_opt
