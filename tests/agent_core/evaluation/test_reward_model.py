"""Cross-fitted linear models: by hand, and what they are for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.evaluation.logged import LoggedDecisions
from agent_core.evaluation.moments import Moments, plain
from agent_core.evaluation.reward_model import FoldSums, cross_fitted, predicted
from agent_core.evaluation.terms import doubly_robust, importance
from agent_core.types import Doubles
from tests.agent_core.evaluation.strategies import rewards

# One feature that is always 1: the model is a mean, drawn to 0 by the ridge.
_ONE = np.ones((3, 1))
_FOLDS = np.array([0, 0, 1])


def test_each_fold_is_told_what_the_others_saw() -> None:
    sums = FoldSums.of(_ONE, np.array([1.0, 3.0, 8.0]), np.ones(3), _FOLDS, count=2)

    # 8 / (1 + 1) for the first fold, (1 + 3) / (2 + 1) for the second.
    assert cross_fitted(sums, ridge=1.0).ravel() == pytest.approx([4.0, 4 / 3])


def test_a_row_counts_in_the_fit_by_its_weight() -> None:
    weight = np.array([1.0, 4.0, 1.0])

    sums = FoldSums.of(_ONE, np.array([1.0, 3.0, 8.0]), weight, _FOLDS, count=2)

    # (1 * 1 + 4 * 3) / (5 + 1) for the second fold.
    assert cross_fitted(sums, ridge=1.0)[1] == pytest.approx([13 / 6])


def test_every_available_action_gets_a_value_of_its_rows_fold() -> None:
    coefficients = np.array([[1.0, 10.0], [2.0, 20.0]])
    features = np.array([[1.0, 0], [0, 1], [1, 1]])

    # A row of fold 1 with two actions, then one of fold 0 with one.
    values = predicted(coefficients, features, np.array([1, 0]), np.array([0, 2, 3]))

    assert values.tolist() == [2.0, 20.0, 11.0]


@given(rewards, rewards)
def test_what_is_said_of_a_row_does_not_depend_on_its_reward(one: float, other: float) -> None:
    rest = np.array([3.0, 8.0])

    first, second = (
        cross_fitted(FoldSums.of(_ONE, np.append(reward, rest), np.ones(3), _FOLDS, 2), ridge=1.0)
        for reward in (one, other)
    )

    assert first[0] == second[0]


@given(st.integers(1, 5))
def test_shards_add_up_to_the_whole(cut: int) -> None:
    generator = np.random.default_rng(cut)
    x, (reward, weight) = generator.normal(size=(6, 2)), generator.random((2, 6))
    folds = generator.integers(0, 2, 6)

    merged = FoldSums.of(x[:cut], reward[:cut], weight[:cut], folds[:cut], 2).merged(
        FoldSums.of(x[cut:], reward[cut:], weight[cut:], folds[cut:], 2)
    )

    whole = FoldSums.of(x, reward, weight, folds, 2)
    assert merged.gram == pytest.approx(whole.gram)
    assert merged.moment == pytest.approx(whole.moment)


def _log(generator: np.random.Generator, rows: int) -> tuple[LoggedDecisions, Doubles, Doubles]:
    """Sets of two to five actions, a uniform behaviour policy, a target policy that prefers what is good, and
    rewards that are linear in the actions' features `[N, 3]` but for noise; and the true values `[N]`."""
    sizes = generator.integers(2, 6, rows)
    offsets = np.append(0, np.cumsum(sizes))
    features = generator.normal(size=(offsets[-1], 3))
    values = features @ np.array([1.0, -2.0, 0.5])
    likes = np.exp(values)
    target = likes / np.repeat(np.add.reduceat(likes, offsets[:-1]), sizes)
    action = generator.integers(0, sizes)
    reward = values[offsets[:-1] + action] + generator.normal(size=rows)
    return LoggedDecisions(reward, 1 / sizes, action, target, offsets), features, values


def test_a_fitted_model_leaves_a_doubly_robust_estimate_less_to_guess() -> None:
    log, features, values = _log(np.random.default_rng(0), rows=2000)
    folds = np.arange(2000) % 5
    taken = features[log.offsets[:-1] + log.action]

    fit = cross_fitted(FoldSums.of(taken, log.reward, np.ones(2000), folds, 5), ridge=1.0)
    modelled = predicted(fit, features, folds, log.offsets)

    without = plain(Moments.of(importance(log.reward, log.ratio())))
    robust = plain(
        Moments.of(
            doubly_robust(log.reward, log.ratio(), log.taken(modelled), log.expected(modelled))
        )
    )
    truth = log.expected(values).mean()
    assert robust.standard_error < 0.6 * without.standard_error
    assert abs(robust.value - truth) < 3 * robust.standard_error
    assert abs(without.value - truth) < 3 * without.standard_error
