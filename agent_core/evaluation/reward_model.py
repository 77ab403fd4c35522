"""Linear reward models that never saw the row they speak of.

A model that was fitted to a row repeats some of its reward, and the doubly robust estimate would take that for
knowledge. So the log is cut into folds, and what is said of a fold is learned from all others (Chernozhukov et
al. 2018). All of it follows from sums over each fold, which shards of a log add up. Letters: F folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent_core.types import Doubles, Integers


@dataclass(frozen=True, slots=True, eq=False)
class FoldSums:
    """`gram`: `[F, D, D]`, of x x^T. `moment`: `[F, D]`, of x times the reward. `power`: `[F]`, of the reward
    times itself."""

    gram: Doubles
    moment: Doubles
    power: Doubles

    @classmethod
    def of(
        cls, features: Doubles, reward: Doubles, weight: Doubles, folds: Integers, count: int
    ) -> FoldSums:
        """`features`: `[T, D]` of the actions that were taken. `weight`: `[T]`, how much each row counts in
        the fit: ones, or `weights.most_robust`. `folds`: `[T]` int64 from 0 to `count` - 1, at least 2; what
        belongs together, such as an episode, belongs in one fold."""
        gram = np.zeros((count, features.shape[1], features.shape[1]))
        moment = np.zeros((count, features.shape[1]))
        power: Doubles = np.bincount(folds, weight * reward**2, count).astype(np.float64)
        for fold in range(count):
            x = features[folds == fold]
            weighted = x * weight[folds == fold, None]
            gram[fold], moment[fold] = weighted.T @ x, reward[folds == fold] @ weighted
        return cls(gram, moment, power)

    def merged(self, other: FoldSums) -> FoldSums:
        return FoldSums(
            self.gram + other.gram, self.moment + other.moment, self.power + other.power
        )


def missed(sums: FoldSums, coefficients: Doubles) -> float:
    """The sum of squared errors of what `coefficients` `[F, D]` say of each fold."""
    known = np.einsum("fd,fde,fe->", coefficients, sums.gram, coefficients)
    return float(sums.power.sum() - 2 * (coefficients * sums.moment).sum() + known)


def cross_fitted(sums: FoldSums, ridge: float | Doubles) -> Doubles:
    """`[F, D]`: for each fold, the coefficients of the other folds' ridge regression.

    `ridge`: above 0, of all features or `[D]` of each.
    """
    folds, dim = sums.moment.shape
    is_other = 1 - np.eye(folds)
    grams = np.tensordot(is_other, sums.gram, 1) + ridge * np.eye(dim)
    solved = np.linalg.solve(grams, (is_other @ sums.moment)[:, :, None])
    return np.asarray(solved[:, :, 0], np.float64)


def predicted(
    coefficients: Doubles, features: Doubles, folds: Integers, offsets: Integers
) -> Doubles:
    """`[N]`: what each available action is worth to the model of its row's fold.

    `coefficients`: `[F, D]`. `features`: `[N, D]` of all actions. `folds`: `[T]`. `offsets`: `[T + 1]`.
    """
    rows = np.repeat(folds, np.diff(offsets))
    values: Doubles = (features * coefficients[rows]).sum(1)
    return values
