"""A blend of the model and of weighted rewards: the model takes over after some steps, and the data say when.

Thomas & Brunskill 2016, algorithm 1 (MAGIC). Letters: E episodes, L steps of the longest one, J = L + 1
lengths, from the model alone to no model but as a control.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from agent_core.evaluation.moments import Estimate
from agent_core.evaluation.sequential import shifted, steps
from agent_core.types import Doubles, Integers, Mask

_NEGLIGIBLE: Final = 1e-12
_FREED: Final = 3
"""How often a coordinate may be freed; once is the rule, and rounding must not go round in circles."""


def partial_values(
    reward: Doubles,
    weight: Doubles,
    taken: Doubles,
    expected: Doubles,
    offsets: Integers,
    discount: float,
) -> Doubles:
    """`[E, J]`: `sequential.episode_values` of the first j steps of each episode, and from there on what the
    model says. The arguments are the same; the paper's weights are normalized, see `StepWeights`."""
    sizes, step = np.diff(offsets), steps(offsets)
    episode = np.repeat(np.arange(len(sizes)), sizes)
    faded = discount**step
    missed, modelled = np.zeros((2, len(sizes), int(sizes.max()) + 1))
    missed[episode, step + 1] = faded * weight * (reward - taken)
    modelled[episode, step] = faded * shifted(weight, offsets) * expected
    values: Doubles = missed.cumsum(1) + modelled.cumsum(1)
    return values


@dataclass(frozen=True, slots=True, eq=False)
class PartialSums:
    """`mean`: `[J]`, of `partial_values` of `count` episodes. `scatter`: `[J, J]`, the sum of outer products
    around it. Parts of a log are merged in any order."""

    count: int
    mean: Doubles
    scatter: Doubles

    @classmethod
    def of(cls, partial: Doubles) -> PartialSums:
        """`partial`: `[E, J]`, of at least one episode."""
        mean = partial.mean(0)
        return cls(len(partial), mean, (partial - mean).T @ (partial - mean))

    def merged(self, other: PartialSums) -> PartialSums:
        """Of all episodes (Chan, Golub & LeVeque 1983)."""
        count, apart = self.count + other.count, other.mean - self.mean
        between = np.outer(apart, apart) * (self.count * other.count / count)
        mean = self.mean + apart * (other.count / count)
        return PartialSums(count, mean, self.scatter + other.scatter + between)


def blend(partial: PartialSums, replicates: Doubles) -> Doubles:
    """`[J]`: shares, not negative and 1 in sum, with the least expected squared error; partial values times
    them are the episodes' values.

    A length is taken to be biased by as much as its mean lies outside of the interval of the unbiased one.

    `partial`: of at least two episodes. `replicates`: `[R]`, bootstrapped means of the last partial value.
    """
    means = partial.mean
    low = min(means[-1], np.quantile(replicates, 0.05))
    high = max(means[-1], np.quantile(replicates, 0.95))
    bias = means - means.clip(low, high)
    covariance = partial.scatter / (partial.count - 1)
    return _least_on_simplex(covariance / partial.count + np.outer(bias, bias))


def blended(partial: PartialSums, shares: Doubles) -> Estimate:
    """The mean of partial values times `shares` `[J]`."""
    variance = float(shares @ partial.scatter @ shares) / (partial.count - 1)
    return Estimate(float(partial.mean @ shares), max(variance, 0.0), partial.count)


def _least_on_simplex(matrix: Doubles) -> Doubles:
    """The x of at least 0 and sum 1 with the least x M x, where M is positive semidefinite.

    Up to its scale this is the y of at least 0 with the least y M y + (1 - sum y)^2, found by Lawson & Hanson
    1974, ch. 23: one coordinate after the other is freed, while that helps.
    """
    scaled = matrix / (np.trace(matrix) or 1.0) + 1.0
    y, is_free = np.zeros(len(matrix)), np.zeros(len(matrix), bool)
    for _ in range(_FREED * len(matrix)):
        gain = np.where(is_free, 0.0, 1.0 - scaled @ y)
        if gain.max() < _NEGLIGIBLE:
            break
        is_free[gain.argmax()] = True
        y, is_free = _solved(scaled, y, is_free)
    shares: Doubles = y / y.sum()
    return shares


def _solved(scaled: Doubles, y: Doubles, is_free: Mask) -> tuple[Doubles, Mask]:
    """The best y in which only free coordinates are not 0; those that it wants below 0 are free no more."""
    while True:
        best = np.zeros_like(y)
        best[is_free] = np.linalg.lstsq(scaled[np.ix_(is_free, is_free)], np.ones(is_free.sum()))[0]
        below = is_free & (best < 0)
        if not below.any():
            return best, is_free
        y = y + (best - y) * (y[below] / (y[below] - best[below])).min()
        is_free = is_free & (y > _NEGLIGIBLE)
