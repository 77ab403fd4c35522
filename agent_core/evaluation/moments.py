"""The sums that estimates are made of. Parts of a log are summed apart and merged in any order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from agent_core.evaluation.terms import Terms
from agent_core.types import Doubles


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """`mean` `[3]` and `scatter` `[3, 3]`, the sum of outer products around it, of `count` rows (model,
    correction, weight). Around the mean, because sums of squares lose their digits to a large mean."""

    count: int
    mean: Doubles
    scatter: Doubles

    @classmethod
    def of(cls, terms: Terms) -> Moments:
        """Of at least one row."""
        rows = np.stack([terms.model, terms.correction, terms.weight], 1)
        mean = rows.mean(0)
        return cls(len(rows), mean, (rows - mean).T @ (rows - mean))

    def merged(self, other: Moments) -> Moments:
        """Of both sets of rows (Chan, Golub & LeVeque 1983)."""
        count = self.count + other.count
        apart = other.mean - self.mean
        between = np.outer(apart, apart) * (self.count * other.count / count)
        mean = self.mean + apart * (other.count / count)
        return Moments(count, mean, self.scatter + other.scatter + between)


@dataclass(frozen=True, slots=True)
class Estimate:
    """`value` of the target policy, per decision or per episode. `variance`: of what one of `count` rows
    adds to it, so that the estimate's own is `variance / count`; NaN for a single row."""

    value: float
    variance: float
    count: int

    @property
    def standard_error(self) -> float:
        return math.sqrt(self.variance / self.count)


def plain(moments: Moments) -> Estimate:
    """The mean of model + correction: unbiased where the weights are the ratios."""
    return _estimate(moments, moments.mean[0] + moments.mean[1], np.array([1.0, 1.0, 0.0]))


def self_normalized(moments: Moments) -> Estimate:
    """Corrections divided by the mean weight in place of 1 (Hajek 1971; Swaminathan & Joachims 2015b).

    Without a model it cannot leave the range of the rewards. The variance is that of the linearised ratio
    (Owen 2013, ch. 9). NaN where all weights are 0: the log says nothing.
    """
    model, correction, weight = moments.mean
    if weight == 0:
        return Estimate(math.nan, math.nan, moments.count)
    ratio = correction / weight
    return _estimate(moments, model + ratio, np.array([1.0, 1 / weight, -ratio / weight]))


def _estimate(moments: Moments, value: float, slope: Doubles) -> Estimate:
    """`slope`: `[3]`, how the estimate moves with each of the three means."""
    spread = float(slope @ moments.scatter @ slope)
    variance = max(spread, 0.0) / (moments.count - 1) if moments.count > 1 else math.nan
    return Estimate(float(value), variance, moments.count)
