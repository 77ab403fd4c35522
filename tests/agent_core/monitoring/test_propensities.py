from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_core.evaluation.diagnostics import WeightSums
from agent_core.monitoring.propensities import (
    ActionCounts,
    Choices,
    EntropySums,
    action_chi_squared,
    action_p_value,
    action_z,
    weight_z,
)
from agent_core.monitoring.tails import chi_squared_tail
from agent_core.types import Doubles, Integers
from tests.agent_core.monitoring.strategies import assert_same

_CHOICES = Choices(
    action=np.array([1, 0, 0]),
    propensity=np.array([0.75, 0.5, 1.0]),
    probability=np.array([0.25, 0.75, 0.5, 0.5, 0.0, 1.0]),
    offsets=np.array([0, 2, 5, 6]),
)


def test_the_uniform_policy_weighs_what_is_possible() -> None:
    # 1 / (2 * 0.75); the second decision has three actions, one of which is impossible: 1 / (2 * 0.5); 1.
    assert _CHOICES.uniform_ratio() == pytest.approx([2 / 3, 1.0, 1.0])


def test_choices_are_counted_beside_what_was_expected() -> None:
    counts = ActionCounts.of(_CHOICES, cell=np.array([0, 1, 0, 1, 2, 1]), cells=4)

    assert counts.taken.tolist() == [1, 2, 0, 0]
    assert counts.expected.tolist() == [0.75, 2.25, 0.0, 0.0]
    # 0.25 * 0.75 + 0.5 * 0.5 for both; what is sure adds nothing.
    assert counts.variance.tolist() == [0.4375, 0.4375, 0.0, 0.0]


def test_actions_of_one_cell_count_as_one() -> None:
    counts = ActionCounts.of(_CHOICES, cell=np.array([0, 0, 0, 0, 0, 0]), cells=1)

    assert counts.taken.tolist() == [3]
    assert counts.expected.tolist() == [3.0]
    assert counts.variance == pytest.approx([0.0])


def test_chi_squared_is_pearsons_over_frequent_cells() -> None:
    counts = ActionCounts(np.array([30, 10, 20, 1]), np.array([20.0, 20, 20, 1]), np.ones(4))

    # 100/20 + 100/20 + 0 = 10 with 2 degrees of freedom; the last cell expects fewer than 5.
    assert action_chi_squared(counts) == (10.0, 2, chi_squared_tail(10.0, 2))


def test_rare_cells_are_one_to_chi_squared() -> None:
    # Four cells of 2 are one of 8, of which 16 were taken: 2 * 4^2 / 20 + 8^2 / 8 = 9.6 for three cells.
    taken, expected = np.array([16, 16, 4, 4, 4, 4]), np.array([20.0, 20.0, 2.0, 2.0, 2.0, 2.0])

    statistic, freedom, _ = action_chi_squared(ActionCounts(taken, expected, np.ones(6)))

    assert statistic == pytest.approx(9.6)
    assert freedom == 2


def test_chi_squared_of_one_action_says_nothing() -> None:
    counts = ActionCounts(np.array([30, 1]), np.array([30.0, 1.0]), np.ones(2))

    assert action_chi_squared(counts) == (0.0, 0, 1.0)


def test_z_counts_in_deviations_of_what_was_drawn() -> None:
    counts = ActionCounts(np.array([60, 3]), np.array([50.0, 1.0]), np.array([25.0, 0.9]))

    # 10 / 5; the second has too little variance to be near normal.
    assert action_z(counts).tolist() == [2.0, 0.0]
    # 2 * 0.02275, for two cells.
    assert action_p_value(counts) == pytest.approx(2 * 0.0455, rel=1e-3)


def _draws(random: np.random.Generator, count: int, lie: float) -> tuple[Choices, Integers]:
    """Near-greedy decisions with 4 actions; a `lie` of the probability of the greedy one went to the next."""
    probability = np.tile([0.97, 0.01, 0.01, 0.01], (count, 1))
    shift = random.integers(4, size=(count, 1))
    cell = (np.arange(4) + shift) % 4
    true = probability + np.array([-lie, lie, 0.0, 0.0]) * (shift == 0)
    action = (random.random((count, 1)) > np.cumsum(true, 1)).sum(1)
    offsets = np.arange(0, 4 * count + 1, 4)
    propensity = probability[np.arange(count), action]
    return Choices(action, propensity, probability.ravel(), offsets), cell.ravel()


def test_z_sees_a_lie_about_near_greedy_decisions_that_chi_squared_does_not() -> None:
    choices, cell = _draws(np.random.default_rng(0), 8_000, lie=0.04)

    counts = ActionCounts.of(choices, cell, 4)

    assert action_chi_squared(counts)[2] > 0.05
    assert action_p_value(counts) < 1e-6


def test_true_logs_alarm_as_often_as_asked() -> None:
    random = np.random.default_rng(1)

    alarms = sum(
        action_p_value(ActionCounts.of(*_draws(random, 2_000, lie=0.0), 4)) < 0.05
        for _ in range(400)
    )

    # Binomial(400, 0.05): mean 20, deviation 4.4; cells depend on each other, which makes it less.
    assert 3 <= alarms <= 33


def test_a_mean_weight_off_1_counts_in_standard_errors() -> None:
    # 1.5 and 0.7: mean 1.1, deviation 0.4, error 0.4 / sqrt(2).
    weights = WeightSums.of(np.array([1.5, 0.7]))

    assert weight_z(weights) == pytest.approx(0.1 / (0.4 / math.sqrt(2)))
    assert weight_z(WeightSums.of(np.ones(5))) == 0.0
    assert weight_z(WeightSums.of(np.full(4, 2.0))) == math.inf


def test_entropy_is_a_share_of_the_most_there_can_be() -> None:
    sums = EntropySums.of(_CHOICES)

    # H(1/4) = 0.8113 bits of 1, and 1 bit of log2 3 = 0.6309; one action is no choice.
    assert sums.count == 2
    assert sums.mean == pytest.approx((0.811278 + 0.630930) / 2, abs=1e-6)


def test_without_a_choice_there_is_no_entropy() -> None:
    sums = EntropySums(0, 0.0)

    assert math.isnan(sums.mean)


@st.composite
def _parts(draw: st.DrawFn) -> list[tuple[Choices, Integers]]:
    seeds = draw(st.lists(st.integers(0, 1000), min_size=3, max_size=3))
    sizes = draw(st.lists(st.integers(1, 10), min_size=3, max_size=3))
    return [_draws(np.random.default_rng(s), n, 0.0) for s, n in zip(seeds, sizes, strict=True)]


def _joined(parts: list[tuple[Choices, Integers]]) -> tuple[Choices, Integers]:
    def column(name: str) -> Doubles:
        joined: Doubles = np.concatenate([getattr(choices, name) for choices, _ in parts])
        return joined

    probability, cell = column("probability"), np.concatenate([cell for _, cell in parts])
    offsets = np.arange(0, len(probability) + 1, 4)
    choices = Choices(column("action").astype(np.int64), column("propensity"), probability, offsets)
    return choices, cell


@given(_parts())
@settings(max_examples=40, deadline=None)
def test_the_order_of_merging_does_not_matter(parts: list[tuple[Choices, Integers]]) -> None:
    counts = [ActionCounts.of(choices, cell, 4) for choices, cell in parts]
    entropies = [EntropySums.of(choices) for choices, _ in parts]
    choices, cell = _joined(parts)

    for a, b, c in ((0, 1, 2), (2, 0, 1)):
        assert_same(
            counts[a].merged(counts[b].merged(counts[c])), ActionCounts.of(choices, cell, 4)
        )
        whole = EntropySums.of(choices)
        assert_same(entropies[a].merged(entropies[b].merged(entropies[c])), whole)
