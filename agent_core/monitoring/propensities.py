"""Do logged propensities tell the truth, and does the policy still try things?

Weights are those of `agent_core.evaluation.diagnostics`: for the uniform policy over the A allowed actions, or
for any other, their mean must be 1. Letters: T decisions, N actions of all decisions one after the other, K cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from agent_core.evaluation.diagnostics import WeightSums
from agent_core.evaluation.logged import segment_sum
from agent_core.monitoring.storage import Stored
from agent_core.monitoring.tails import bonferroni, chi_squared_tail, normal_tail
from agent_core.types import Doubles, Integers

_LEAST_EXPECTED: Final = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """T decisions and what they were drawn from.

    `action`: `[T]` int64, position in the set. `propensity`: `[T]` in (0, 1], as logged. `probability`: `[N]`, of
    all actions; they sum to 1 within a decision. `offsets`: `[T + 1]` int64; decision t has the actions
    `offsets[t]:offsets[t + 1]`.
    """

    action: Integers
    propensity: Doubles
    probability: Doubles
    offsets: Integers

    def uniform_ratio(self) -> Doubles:
        """`[T]`: the weight of the uniform policy over actions with a probability above 0."""
        possible = segment_sum((self.probability > 0).astype(np.float64), self.offsets)
        return 1 / (possible * self.propensity)


@dataclass(frozen=True, slots=True, eq=False)
class ActionCounts(Stored):
    """`[K]` each: how often actions of a cell were `taken` (int64), how often they were to be `expected` to, and the
    `variance` of that.

    A cell is an action, or several: the caller numbers them, at most as many as a monitor can keep.
    """

    taken: Integers
    expected: Doubles
    variance: Doubles

    @classmethod
    def of(cls, choices: Choices, cell: Integers, cells: int) -> ActionCounts:
        """`cell`: `[N]` in [0, `cells`), each action's."""
        offsets, p = choices.offsets, choices.probability
        taken = np.bincount(cell[offsets[:-1] + choices.action], minlength=cells)
        expected = _summed(p, cell, cells)
        # Actions of one decision that share a cell count as one, with the sum of their probabilities.
        decision = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        pairs, at = np.unique(decision * cells + cell, return_inverse=True)
        together = _summed(p, at, len(pairs))
        spread = np.maximum(together * (1 - together), 0.0)
        variance = _summed(spread, pairs % cells, cells)
        return cls(taken, expected, variance)

    def merged(self, other: ActionCounts) -> ActionCounts:
        taken, expected = self.taken + other.taken, self.expected + other.expected
        return ActionCounts(taken, expected, self.variance + other.variance)


def action_chi_squared(counts: ActionCounts) -> tuple[float, int, float]:
    """Pearson's statistic over cells with at least 5 expected choices, its degrees of freedom, and its p-value. All
    rarer cells together are one.

    Exact when all decisions have the same probabilities, conservative when they differ: then `action_z` sees
    more. A statistic of 0 with no degrees of freedom where fewer than two cells are frequent.
    """
    taken, expected = _rare_as_one(counts)
    some = expected >= _LEAST_EXPECTED
    freedom = int(some.sum()) - 1
    if freedom < 1:
        return 0.0, 0, 1.0
    apart = taken[some] - expected[some]
    statistic = float((apart**2 / expected[some]).sum())
    return statistic, freedom, chi_squared_tail(statistic, freedom)


def action_z(counts: ActionCounts) -> Doubles:
    """`[K]`: (taken - expected) / sqrt(sum p (1 - p)), about standard normal whatever the probabilities were.

    0 in cells where that variance is below 5, which is too small to be near normal.
    """
    some = counts.variance >= _LEAST_EXPECTED
    error = np.sqrt(np.where(some, counts.variance, 1.0))
    z: Doubles = np.where(some, (counts.taken - counts.expected) / error, 0.0)
    return z


def action_p_value(counts: ActionCounts) -> float:
    """Of the largest `action_z` in either direction, for all cells together."""
    return bonferroni(np.array([min(1.0, 2 * normal_tail(abs(z))) for z in action_z(counts)]))


def weight_z(weights: WeightSums) -> float:
    """How many standard errors the mean weight is from 1; 0 where all weights are 1."""
    apart = weights.mean - 1
    if weights.mean_error == 0:
        return 0.0 if abs(apart) < 1e-9 else math.copysign(math.inf, apart)
    return apart / weights.mean_error


@dataclass(frozen=True, slots=True)
class EntropySums(Stored):
    """Over `count` decisions with a choice, that is with two actions or more: the `total` of entropies as shares of
    ln A."""

    count: int
    total: float

    @classmethod
    def of(cls, choices: Choices) -> EntropySums:
        """A probability e spread over all A actions has a share of about e for small e."""
        entropy = segment_sum(_surprise(choices.probability), choices.offsets)
        sizes = np.diff(choices.offsets)
        shares = entropy[sizes > 1] / np.log(sizes[sizes > 1])
        return cls(len(shares), float(shares.sum()))

    def merged(self, other: EntropySums) -> EntropySums:
        return EntropySums(self.count + other.count, self.total + other.total)

    @property
    def mean(self) -> float:
        """In [0, 1]; NaN where no decision had a choice."""
        return self.total / self.count if self.count else math.nan


def _rare_as_one(counts: ActionCounts) -> tuple[Doubles, Doubles]:
    """`[K + 1]` each: taken and expected, with what is rare in the last cell alone."""
    is_rare = counts.expected < _LEAST_EXPECTED
    pairs = (counts.taken.astype(np.float64), counts.expected)
    taken, expected = (np.append(np.where(is_rare, 0.0, one), one[is_rare].sum()) for one in pairs)
    return taken, expected


def _summed(values: Doubles, cell: Integers, cells: int) -> Doubles:
    """`[cells]`: sums of `values` by their cell."""
    sums = np.zeros(cells)
    np.add.at(sums, cell, values)
    return sums


def _surprise(probability: Doubles) -> Doubles:
    """-p ln p, which is 0 at 0."""
    some = probability > 0
    return -probability * np.log(np.where(some, probability, 1.0))
