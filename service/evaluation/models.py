"""Reward models of a log that never saw the unit they speak of, all from sums over shards.

Letters: F folds, T decisions of a shard, D features (see `sketches`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final, TypeAlias

import numpy as np

from agent_core.evaluation.fitted_q import StepSums, fitted_q, visit_coefficients
from agent_core.evaluation.reward_model import FoldSums, cross_fitted, missed
from agent_core.evaluation.weights import most_robust
from agent_core.types import Doubles, Integers, Mask
from service.evaluation.columns import Columns
from service.evaluation.sketches import crossed

FOLDS: Final = 3
_RIDGES: Final = (1.0, 10.0, 100.0, 1e3, 1e4)
"""How many rows of reward 0 stand against each feature; what predicts other folds best is taken."""
_FREE: Final = 1e-6
"""For the intercept, which nothing may pull to 0."""

Said: TypeAlias = Mapping[str, tuple[Doubles, Doubles]]
"""By model: `[T]` what it says of the action that was taken, and `[T]` the mean of what it says under the
target."""


def fold_of(unit: Integers) -> Integers:
    """`[E]`: from 0 to F - 1, by the hash of each unit's name."""
    folds: Integers = (unit >> 8) % FOLDS
    return folds


@dataclass(frozen=True, slots=True, eq=False)
class ModelSums:
    """What models are fitted to; None is not asked for. `steps`: of each fold."""

    plain: FoldSums | None
    robust: FoldSums | None
    steps: tuple[StepSums, ...]

    @classmethod
    def of(cls, columns: Columns, needs: frozenset[str]) -> ModelSums:
        folds, is_sequential = fold_of(columns.unit), bool(needs & {"steps", "visits"})
        rows = np.repeat(folds, np.diff(columns.offsets))
        if not is_sequential and not needs & {"plain", "robust"}:
            return cls(None, None, ())
        taken, ones = crossed(columns.state, columns.taken), np.ones(len(rows))
        robust = None
        if "robust" in needs:
            counts = most_robust(columns.ratio, columns.propensity)
            robust = FoldSums.of(taken, columns.reward, counts, rows, FOLDS)
        return cls(
            FoldSums.of(taken, columns.reward, ones, rows, FOLDS),
            robust,
            _step_sums(columns, taken, folds, rows) if is_sequential else (),
        )

    def merged(self, other: ModelSums) -> ModelSums:
        steps = zip(self.steps, other.steps, strict=True)
        return ModelSums(
            _both(self.plain, other.plain),
            _both(self.robust, other.robust),
            tuple(one.merged(another) for one, another in steps),
        )


def _both(one: FoldSums | None, other: FoldSums | None) -> FoldSums | None:
    return None if one is None or other is None else one.merged(other)


def _step_sums(
    columns: Columns, taken: Doubles, folds: Integers, rows: Integers
) -> tuple[StepSums, ...]:
    """`rows`: `[T]`, the fold of each step's episode."""
    following, counts, first = _following(columns)
    return tuple(
        StepSums.of(
            taken[counts & (rows == fold)],
            following[counts & (rows == fold)],
            columns.reward[counts & (rows == fold)],
            first[folds == fold],
        )
        for fold in range(FOLDS)
    )


def _following(columns: Columns) -> tuple[Doubles, Mask, Doubles]:
    """`[T, D]`: features of what the target does next; `[T]` whether that is known, or nothing follows; and
    `[E, D]` of what it does first."""
    expected = crossed(columns.state, columns.expected)
    last, following = columns.offsets[1:] - 1, np.roll(expected, -1, 0)
    following[last] = 0.0
    is_known = np.ones(len(expected), bool)
    is_known[last[columns.goes_on]] = False
    return following, is_known, expected[columns.offsets[:-1]]


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """`by_name`: `[F, D]` of each model: `plain`, `robust`, and `steps` for what follows too. `visits`: `[D]`."""

    by_name: Mapping[str, Doubles]
    visits: Doubles | None

    def of(self, columns: Columns) -> Said:
        """What each says of a shard."""
        if not self.by_name:
            return {}
        folds = np.repeat(fold_of(columns.unit), np.diff(columns.offsets))
        taken = crossed(columns.state, columns.taken)
        expected = crossed(columns.state, columns.expected)
        return {
            name: ((taken * known[folds]).sum(1), (expected * known[folds]).sum(1))
            for name, known in self.by_name.items()
        }


def fitted(sums: ModelSums, needs: frozenset[str], discount: float, longest: int) -> Models:
    """The models that are needed. `longest`: steps of the longest episode."""
    if sums.plain is None:
        return Models({}, None)
    ridges = [_best_ridge(_others(sums.plain, fold)) for fold in range(FOLDS)]
    found = {"plain": _of_others(sums.plain, ridges)} if "plain" in needs else {}
    if sums.robust is not None:
        own = [_best_ridge(_others(sums.robust, fold)) for fold in range(FOLDS)]
        found["robust"] = _of_others(sums.robust, own)
    if "steps" in needs:
        others = [_merged(sums.steps[:fold] + sums.steps[fold + 1 :]) for fold in range(FOLDS)]
        found["steps"] = np.stack(
            [
                fitted_q(one, discount, ridge, longest)
                for one, ridge in zip(others, ridges, strict=True)
            ]
        )
    visits = None
    if "visits" in needs:
        # Balanced over features alone, of which no reward is a part.
        ridge = _ridge(sums.plain, _RIDGES[0])
        visits = visit_coefficients(_merged(sums.steps), discount, ridge)
    return Models(found, visits)


def _others(sums: FoldSums, fold: int) -> FoldSums:
    """Without one fold: even how much a model is held back must not be known from what it speaks of."""
    return FoldSums(*[np.delete(one, fold, 0) for one in (sums.gram, sums.moment, sums.power)])


def _of_others(sums: FoldSums, ridges: Sequence[Doubles]) -> Doubles:
    """`[F, D]`, with each fold's own ridge."""
    return np.stack([cross_fitted(sums, ridge)[fold] for fold, ridge in enumerate(ridges)])


def _merged(steps: tuple[StepSums, ...]) -> StepSums:
    return reduce(StepSums.merged, steps)


def _best_ridge(sums: FoldSums) -> Doubles:
    """`[D]`: that with which models predict the folds best that they were not fitted to."""
    ridges = [_ridge(sums, share) for share in _RIDGES]
    return min(ridges, key=lambda ridge: missed(sums, cross_fitted(sums, ridge)))


def _ridge(sums: FoldSums, share: float) -> Doubles:
    """In units of each feature's own mean square, so that scales do not matter."""
    squares = np.einsum("fdd->d", sums.gram)
    rows = max(float(squares[0]), _FREE)
    ridge: Doubles = np.maximum(share * squares / rows, _FREE)
    ridge[0] = _FREE
    return ridge
