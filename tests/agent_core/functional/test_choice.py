"""Probability rules by hand, and what must hold for all of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.functional import choice
from agent_core.types import ActionScores, Doubles
from tests.support.strategies import probability_vectors, scores, seeds, uniforms, values


def test_greedy_splits_exact_ties() -> None:
    probabilities = choice.greedy(np.array([1.0, 3.0, 3.0, 2.0]))

    assert probabilities.tolist() == [0.0, 0.5, 0.5, 0.0]


def test_epsilon_greedy_shares_epsilon_among_all_actions() -> None:
    probabilities = choice.epsilon_greedy(np.array([0.0, 1.0, 0.0, 0.0]), 0.2)

    # Each of four gets 0.2 / 4 = 0.05; the best gets the other 0.8 as well.
    assert probabilities == pytest.approx([0.05, 0.85, 0.05, 0.05])


def test_softmax_doubles_the_odds_for_a_gap_of_temperature_times_log_two() -> None:
    temperature = 0.5
    value = np.array([0.0, temperature * np.log(2.0), temperature * np.log(5.0)])

    probabilities = choice.softmax(value, temperature)

    assert probabilities == pytest.approx([1 / 8, 2 / 8, 5 / 8])


def test_softmax_of_huge_values_stays_finite() -> None:
    probabilities = choice.softmax(np.array([1e150, -1e150, 1e150]), 1e-6)

    assert probabilities.tolist() == [0.5, 0.0, 0.5]


def test_square_cb_weighs_by_the_inverse_gap() -> None:
    probabilities = choice.square_cb(np.array([0.5, 1.0, 0.7]), scale=10.0)

    # Gaps 0.5 and 0.3: 1 / (3 + 5) = 0.125 and 1 / (3 + 3) = 1/6; the best has the rest.
    assert probabilities == pytest.approx([1 / 8, 1 - 1 / 8 - 1 / 6, 1 / 6])


def test_square_cb_gives_tied_best_actions_the_same() -> None:
    probabilities = choice.square_cb(np.array([1.0, 0.0, 1.0]), scale=3.0)

    # The other gets 1 / (3 + 3) = 1/6; two tied actions share 5/6.
    assert probabilities == pytest.approx([5 / 12, 1 / 6, 5 / 12])


def test_square_cb_at_scale_zero_is_uniform() -> None:
    assert choice.square_cb(np.array([1.0, 5.0, 2.0, 0.0]), 0.0) == pytest.approx([0.25] * 4)


def test_posterior_maxima_match_the_normal_distribution_for_two_actions() -> None:
    draws = 10_000

    shares = choice.posterior_maxima(np.array([0.0, 1.0]), np.eye(2), draws, seed=3)

    # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt(2)) = 0.7602; four standard errors are 4 * 0.0043.
    assert shares[1] == pytest.approx(0.7602, abs=0.018)


def test_posterior_maxima_see_the_correlation_between_actions() -> None:
    # Both move together: whatever the draw, the second is 0.1 ahead.
    shares = choice.posterior_maxima(np.array([0.0, 0.1]), np.array([[2.0], [2.0]]), 100, seed=1)

    assert shares.tolist() == [0.0, 1.0]


def test_posterior_maxima_split_draws_that_tie() -> None:
    shares = choice.posterior_maxima(np.zeros(4), np.zeros((4, 2)), 10, seed=1)

    assert shares == pytest.approx([0.25] * 4)


def test_a_wide_posterior_factor_means_the_same_as_its_narrow_equal() -> None:
    # Covariance 4 * 0.25 = 1 for each action, spread over four columns of its own.
    wide = np.kron(np.eye(2), np.full((1, 4), 0.5))

    shares = choice.posterior_maxima(np.array([0.0, 1.0]), wide, 10_000, seed=3)

    assert shares[1] == pytest.approx(0.7602, abs=0.018)


def test_the_posterior_scale_multiplies_the_deviation() -> None:
    shares = choice.posterior_maxima(np.array([0.0, 1.0]), np.eye(2), 10_000, seed=3, scale=2.0)

    # Phi(1 / sqrt(8)) = 0.6382.
    assert shares[1] == pytest.approx(0.6382, abs=0.02)


def test_a_floor_mixes_in_uniform() -> None:
    probabilities = choice.with_floor(np.array([1.0, 0.0, 0.0, 0.0]), 0.05)

    # (1 - 4 * 0.05) * 1 + 0.05 = 0.85.
    assert probabilities == pytest.approx([0.85, 0.05, 0.05, 0.05])


def test_a_floor_that_cannot_be_met_is_uniform() -> None:
    assert choice.with_floor(np.array([1.0, 0.0]), 0.9) == pytest.approx([0.5, 0.5])


def test_sampling_inverts_the_cumulative_sum() -> None:
    probabilities = np.array([0.25, 0.0, 0.5, 0.25])

    picked = [choice.sample(probabilities, u) for u in (0.0, 0.2499, 0.25, 0.74, 0.75, 0.9999)]

    assert picked == [0, 0, 2, 2, 3, 3]


def test_a_last_action_without_probability_is_not_drawn_when_the_sum_rounds_below_one() -> None:
    probabilities = np.array([*[0.1] * 10, 0.0])  # the cumulative sum ends at 0.9999999999999999
    largest_uniform = np.nextafter(1.0, 0.0)

    assert choice.sample(probabilities, float(largest_uniform)) == 9


def test_uniform_from_is_splitmix64() -> None:
    # The first output of splitmix64 seeded with 0 is 0xE220A8397B1DCDAF (its published test vector).
    assert choice.uniform_from(0) == (0xE220A8397B1DCDAF >> 11) / 2**53


def test_uniforms_of_consecutive_seeds_fill_the_interval_evenly() -> None:
    tenths = np.bincount([int(10 * choice.uniform_from(seed)) for seed in range(10_000)])

    # Chi-squared with 9 degrees of freedom exceeds 27.9 with probability 0.001.
    assert ((tenths - 1000.0) ** 2 / 1000.0).sum() < 27.9


@given(seeds)
def test_a_uniform_is_at_least_zero_and_below_one(seed: int) -> None:
    assert 0.0 <= choice.uniform_from(seed) < 1.0


@given(probability_vectors(), uniforms)
def test_an_action_with_probability_zero_is_never_drawn(
    probabilities: Doubles, uniform: float
) -> None:
    assert probabilities[choice.sample(probabilities, uniform)] > 0.0


_RULES: dict[str, Callable[[Doubles], Doubles]] = {
    "greedy": choice.greedy,
    "epsilon_greedy": lambda value: choice.epsilon_greedy(value, 0.3),
    "softmax": lambda value: choice.softmax(value, 0.7),
    "square_cb": lambda value: choice.square_cb(value, 20.0),
}


@pytest.mark.parametrize("rule", _RULES.values(), ids=_RULES)
@given(value=values())
def test_every_rule_gives_a_distribution_that_prefers_better_actions(
    rule: Callable[[Doubles], Doubles], value: Doubles
) -> None:
    probabilities = rule(value)

    assert probabilities.sum() == pytest.approx(1.0, abs=1e-12)
    assert (probabilities >= 0.0).all()
    in_order = probabilities[np.argsort(value)]
    assert (np.diff(in_order) >= -1e-12).all()


@given(scores(), seeds)
def test_posterior_maxima_are_a_distribution(given_scores: ActionScores, seed: int) -> None:
    assert given_scores.spread is not None

    shares = choice.posterior_maxima(given_scores.value, given_scores.spread, 32, seed)

    assert shares.sum() == pytest.approx(1.0, abs=1e-12)
    assert (shares >= 0.0).all()


@given(probability_vectors(), st.floats(0, 1))
def test_a_floor_holds_and_keeps_the_sum(probabilities: Doubles, floor: float) -> None:
    mixed = choice.with_floor(probabilities, floor)

    assert mixed.sum() == pytest.approx(1.0, abs=1e-12)
    assert (mixed >= min(floor, 1.0 / len(mixed))).all()
