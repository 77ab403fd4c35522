"""From terms to estimates: by hand, and what holds for every log."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.evaluation.logged import LoggedDecisions
from agent_core.evaluation.moments import Estimate, Moments, plain, self_normalized
from agent_core.evaluation.terms import Terms, doubly_robust, importance
from agent_core.types import Doubles
from tests.agent_core.evaluation.strategies import behaviours, parts_of, rewards, terms

_REWARD = np.array([1.0, 0.0, 2.0])
_WEIGHT = np.array([0.5, 1.5, 2.0])


def test_importance_sampling_is_the_mean_of_weighted_rewards() -> None:
    # (0.5, 0, 4): mean 1.5, variance (1 + 2.25 + 6.25) / 2.
    estimate = plain(Moments.of(importance(_REWARD, _WEIGHT)))

    assert estimate.value == pytest.approx(1.5)
    assert estimate.variance == pytest.approx(4.75)
    assert estimate.standard_error == pytest.approx(math.sqrt(4.75 / 3))


def test_a_self_normalized_mean_divides_by_the_weights_that_came() -> None:
    # 4.5 / 4 = 1.125. Every row moves it by w (r - 1.125) / (4/3):
    # 0.75 * (0.5 * -0.125, 1.5 * -1.125, 2 * 0.875), sum of squares 0.5625 * (1/256 + 2.84765625 + 3.0625).
    estimate = self_normalized(Moments.of(importance(_REWARD, _WEIGHT)))

    assert estimate.value == pytest.approx(1.125)
    assert estimate.variance == pytest.approx(0.5625 * (1 / 256 + 2.84765625 + 3.0625) / 2)


def test_a_doubly_robust_row_is_the_model_and_what_it_missed() -> None:
    # 2 + 0.5 * (1 - 3), 1 + 1.5 * (0 - 0), 0 + 2 * (2 - 1): 1, 1, 2.
    rows = doubly_robust(_REWARD, _WEIGHT, np.array([3.0, 0, 1]), np.array([2.0, 1, 0]))

    assert (rows.model + rows.correction).tolist() == [1.0, 1.0, 2.0]
    assert plain(Moments.of(rows)).value == pytest.approx(4 / 3)
    # A third of 2 + 1 + 0, and -1 + 0 + 2 over the weights' 4.
    assert self_normalized(Moments.of(rows)).value == pytest.approx(1.25)


def test_the_model_alone_decides_where_no_row_counts() -> None:
    rows = doubly_robust(_REWARD, np.zeros(3), np.ones(3), np.array([2.0, 1.0, 3.0]))

    # Mean 2, variance (0 + 1 + 1) / 2.
    assert plain(Moments.of(rows)) == Estimate(2.0, 1.0, 3)


def test_a_log_in_which_the_target_would_have_done_nothing_of_it_says_nothing() -> None:
    estimate = self_normalized(Moments.of(importance(_REWARD, np.zeros(3))))

    assert math.isnan(estimate.value)


@given(behaviours())
def test_the_behaviour_policy_is_worth_its_mean_reward(
    log: tuple[LoggedDecisions, Doubles],
) -> None:
    decisions, _ = log

    moments = Moments.of(importance(decisions.reward, decisions.ratio()))

    assert plain(moments).value == pytest.approx(decisions.reward.mean(), abs=1e-9)
    assert self_normalized(moments).value == pytest.approx(decisions.reward.mean(), abs=1e-9)


@given(behaviours())
def test_a_perfect_model_leaves_nothing_to_correct(log: tuple[LoggedDecisions, Doubles]) -> None:
    decisions, values = log
    taken, expected = decisions.taken(values), decisions.expected(values)

    # The rewards are what the model says, and every weight is as good as any other.
    rows = doubly_robust(taken, 7 * decisions.ratio(), taken, expected)

    assert not rows.correction.any()
    assert plain(Moments.of(rows)).value == pytest.approx(expected.mean(), abs=1e-9)


@given(st.lists(st.tuples(rewards, st.floats(0.01, 1e3)), min_size=1))
def test_a_self_normalized_mean_stays_within_the_rewards(rows: list[tuple[float, float]]) -> None:
    reward, weight = np.array(rows).T

    value = self_normalized(Moments.of(importance(reward, weight))).value

    assert reward.min() - 1e-9 <= value <= reward.max() + 1e-9


@given(terms(min_size=2), st.data())
def test_shards_add_up_to_the_whole(whole: Terms, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(whole.weight) - 1))
    first, rest = map(Moments.of, parts_of(whole, cut))

    merged, at_once = first.merged(rest), Moments.of(whole)

    assert merged.count == at_once.count
    assert merged.mean == pytest.approx(at_once.mean, abs=1e-9)
    assert merged.scatter == pytest.approx(at_once.scatter, rel=1e-9, abs=1e-6)


def test_a_large_mean_does_not_drown_the_variance() -> None:
    # Rewards around 1e9 with variance 1: sums of squares would have 1e18 in them, and no digit of it.
    reward = 1e9 + np.array([0.0, 1.0, 2.0])

    halves = Moments.of(importance(reward[:1], np.ones(1))).merged(
        Moments.of(importance(reward[1:], np.ones(2)))
    )

    assert plain(halves).variance == pytest.approx(1.0)
