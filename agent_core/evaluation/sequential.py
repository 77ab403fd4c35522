"""Episodes: what the target policy would have earned over many steps.

The rows of a log are then steps, T in all, and episode e is rows `offsets[e]:offsets[e + 1]`. A step counts
by the product of all ratios up to it, because the target policy must have done all of that to get there.

    weight      `whole_products` of the ratios (trajectory importance sampling, TIS), `running_products` (per
                decision, PDIS), or either normalized by `StepWeights` (weighted: biased, far less
                variance; what the means add to the variance is not in `moments`)
    values      `episode_values` of them; with a model doubly robust (DR, weighted DR), with weights of 0 the
                model alone
    terms       the values of episodes, as `correction` with the last weight of each

Letters: T steps, E episodes, L steps of the longest episode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from agent_core.evaluation.logged import segment_sum
from agent_core.functional.blocks import spans
from agent_core.types import Doubles, Integers

_MOST: Final = 1e100
"""A product of true ratios is ever as large with a probability of 1e-100 (Ville 1939). Wrong propensities reach it,
and doubles must still hold its square, so that the verdict can say so."""


@dataclass(frozen=True, slots=True, eq=False)
class StepWeights:
    """`total`: `[L]`, the weights of all `episodes` at each step; one that has ended keeps its last weight.

    So weighted estimates see an ended episode as one that goes on without reward, as the unweighted do.
    """

    total: Doubles
    episodes: int

    @classmethod
    def of(cls, weight: Doubles, offsets: Integers) -> StepWeights:
        """`weight`: `[T]`, of at least one episode."""
        sizes = np.diff(offsets)
        length = int(sizes.max())
        going_on = np.bincount(steps(offsets), weight, length)
        ended = np.bincount(sizes, weight[offsets[1:] - 1], length + 1)[:length]
        return cls(np.add(going_on, np.cumsum(ended), dtype=np.float64), len(sizes))

    def merged(self, other: StepWeights) -> StepWeights:
        length = max(len(self.total), len(other.total))
        longer = [np.pad(one.total, (0, length - len(one.total)), "edge") for one in (self, other)]
        return StepWeights(longer[0] + longer[1], self.episodes + other.episodes)

    def normalized(self, weight: Doubles, offsets: Integers) -> Doubles:
        """`[T]`: `weight` `[T]` over the mean of its step; 0 where nobody has any."""
        means = (self.total / self.episodes)[steps(offsets)]
        weights: Doubles = np.divide(weight, means, out=np.zeros_like(weight), where=means > 0)
        return weights


def episode_values(
    reward: Doubles,
    weight: Doubles,
    taken: Doubles,
    expected: Doubles,
    offsets: Integers,
    discount: float,
) -> Doubles:
    """`[E]`: sums of discount^t (weight_t (reward_t - taken_t) + weight_(t-1) expected_t), with 1 before the
    first step (Jiang & Li 2016; unrolled as in Thomas & Brunskill 2016). What would have followed a truncated
    episode is not counted.

    `weight`: `[T]`. `taken`, `expected`: `[T]`, the model's value of what was done, and the mean of its
    values under the target policy; zeros without a model. `discount`: in [0, 1].
    """
    missed = weight * (reward - taken)
    rows = missed + shifted(weight, offsets) * expected
    return segment_sum(discount ** steps(offsets) * rows, offsets)


def steps(offsets: Integers) -> Integers:
    """`[T]`: where each row stands in its episode, from 0."""
    sizes = np.diff(offsets)
    return spans(np.zeros_like(sizes), sizes)


def running_products(ratio: Doubles, offsets: Integers) -> Doubles:
    """`[T]`: products of the ratios from the start of the episode to each of its steps, up to 1e100."""
    products = np.minimum(ratio, _MOST)
    for rows in _later_steps(offsets):
        products[rows] = np.minimum(products[rows] * products[rows - 1], _MOST)
    return products


def whole_products(ratio: Doubles, offsets: Integers) -> Doubles:
    """`[T]`: the product of all ratios of its episode at each step."""
    last = running_products(ratio, offsets)[offsets[1:] - 1]
    return np.repeat(last, np.diff(offsets))


def shifted(weight: Doubles, offsets: Integers) -> Doubles:
    """`[T]`: the weight of the step before; 1 at the first step of an episode."""
    before = np.roll(weight, 1)
    before[offsets[:-1]] = 1.0
    return before


def _later_steps(offsets: Integers) -> list[Integers]:
    """The rows of all second steps, those of all third steps, and so on: nothing is padded."""
    starts, sizes = offsets[:-1], np.diff(offsets)
    return [starts[sizes > step] + step for step in range(1, int(sizes.max()))]
