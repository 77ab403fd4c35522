"""Values and visits of a target policy over many steps, as linear functions of features.

Both follow from the same sums over steps, which shards of a log add up. A policy may be stochastic and sets of
actions may change: what matters of the next set is the mean of its features under the target policy,
`segment_sum(target[:, None] * features, offsets)`. With a history, the state within the features is a window.
Letters: T steps, E episodes, D features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent_core.types import Doubles


@dataclass(frozen=True, slots=True, eq=False)
class StepSums:
    """`gram`: `[D, D]`, of x x^T, where x are the features of what was done. `cross`: `[D, D]`, of x y^T, where
    y is the mean of the features of what the target policy does next. `moment`: `[D]`, of x times the reward.
    `start`: `[D]`, of the mean features of what it does first. `steps`, `episodes`: how many."""

    gram: Doubles
    cross: Doubles
    moment: Doubles
    start: Doubles
    steps: int
    episodes: int

    @classmethod
    def of(cls, taken: Doubles, following: Doubles, reward: Doubles, start: Doubles) -> StepSums:
        """`taken`: `[T, D]`. `following`: `[T, D]`, zeros after a step that terminated; a step that was
        truncated with nothing known of what follows is left out. `reward`: `[T]`. `start`: `[E, D]`."""
        gram, cross = taken.T @ taken, taken.T @ following
        return cls(gram, cross, reward @ taken, start.sum(0), len(taken), len(start))

    def merged(self, other: StepSums) -> StepSums:
        return StepSums(
            self.gram + other.gram,
            self.cross + other.cross,
            self.moment + other.moment,
            self.start + other.start,
            self.steps + other.steps,
            self.episodes + other.episodes,
        )


def fitted_q(sums: StepSums, discount: float, ridge: float | Doubles, rounds: int) -> Doubles:
    """`[D]`: coefficients of the target policy's values, by `rounds` of regression on reward + discount times
    the last round's value of what follows (Le, Voloshin & Yue 2019, algorithm 3: FQE).

    `discount`: in [0, 1]. `ridge`: above 0, of all features or `[D]` of each. `rounds`: steps that are looked ahead, as many as episodes have
    where there is no discount. The mean of `start` times the coefficients is the direct estimate; with
    x and y times them, `sequential.episode_values` is doubly robust.
    """
    gram = sums.gram + ridge * np.eye(len(sums.gram))
    first, step = np.linalg.solve(gram, sums.moment), np.linalg.solve(gram, discount * sums.cross)
    coefficients = np.zeros_like(sums.moment)
    for _ in range(rounds):
        coefficients[:] = first + step @ coefficients
    return coefficients


def visit_coefficients(sums: StepSums, discount: float, ridge: float | Doubles) -> Doubles:
    """`[D]`: how often the target policy would visit what was done, relative to the log: x times these.

    A weight for each step by itself, with no product over the steps before it: marginalized importance
    sampling. They solve the balance that visits must keep, in the mean over the log and for every feature:
    mean(weight (x - discount y)) = mean(start), which is minimax weight learning with linear functions (Uehara,
    Huang & Jiang 2020). `terms.importance` of rewards and these weights is worth an episode; their mean is
    the discounted number of steps of one.
    """
    balance = (sums.gram - discount * sums.cross.T) / sums.steps
    balance = balance + ridge / sums.steps * np.eye(len(balance))
    return np.asarray(np.linalg.solve(balance, sums.start / sums.episodes), np.float64)
