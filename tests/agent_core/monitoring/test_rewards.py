from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_core.monitoring.moments import mean_z
from agent_core.monitoring.rewards import RewardSums, correlation_z, jump_z
from agent_core.types import Doubles
from tests.agent_core.monitoring.strategies import assert_order_does_not_matter, rows

_LOW, _HIGH = np.array([0.0, -math.inf, -1.0]), np.array([1.0, math.inf, 2.0])


def _sums(components: Doubles) -> RewardSums:
    return RewardSums.of(components, components.sum(1), _LOW, _HIGH)


def test_correlations_are_those_of_components_with_the_total() -> None:
    components = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 4.0], [1.0, 0.0]])

    expected = np.corrcoef(np.column_stack([components, components.sum(1)]).T)[:2, 2]

    assert _sums(components).correlations == pytest.approx(expected)


def test_a_constant_component_goes_with_nothing() -> None:
    sums = _sums(np.array([[0.1, 1.0], [0.1, 2.0], [0.1, 4.0]]))

    assert sums.correlations == pytest.approx([0.0, 1.0])


def test_values_out_of_their_range_are_counted() -> None:
    sums = _sums(np.array([[0.0, 5.0], [1.5, -3.0], [-0.1, 0.5]]))

    # 1.5 and -0.1; no range; totals 5, -1.5 and 0.4.
    assert sums.outside.tolist() == [2, 0, 2]


def test_a_collapsed_correlation_is_far_below_0() -> None:
    random = np.random.default_rng(0)
    normal = random.standard_normal((1000, 2))
    reference = RewardSums.of(normal, normal @ [1.0, 0.2], _LOW, _HIGH)
    window = RewardSums.of(normal[:500], normal[:500] @ [0.2, 1.0], _LOW, _HIGH)

    z = correlation_z(window, reference)

    # Correlations go from 1 / sqrt(1.04) to 0.2 / sqrt(1.04), but for chance.
    by_hand = (math.atanh(0.196) - math.atanh(0.981)) / math.sqrt(1 / 497 + 1 / 997)
    assert z[0] == pytest.approx(by_hand, abs=3)
    assert z[0] < -30
    assert z[1] > 30


def test_correlations_of_a_few_rewards_say_nothing() -> None:
    few = _sums(np.random.default_rng(0).random((9, 2)))
    many = _sums(np.random.default_rng(0).random((90, 2)))

    assert correlation_z(few, many).tolist() == [0.0, 0.0]


def test_correlations_without_a_change_are_standard_normal() -> None:
    random = np.random.default_rng(1)

    z = np.array(
        [
            correlation_z(
                _sums(random.standard_normal((n, 2))), _sums(random.standard_normal((m, 2)))
            )[0]
            for n, m in [(200, 500)] * 400
        ]
    )

    assert abs(z.mean()) < 0.2
    assert 0.85 < z.std() < 1.15


def test_a_jump_counts_in_standard_errors_of_the_reference() -> None:
    random = np.random.default_rng(2)
    usual = random.random((1000, 2))
    too_good = random.random((100, 2)) + np.array([0.0, 0.5])

    z = jump_z(_sums(too_good), _sums(usual))

    # 0.5 of a deviation of 0.289, over sqrt(1/100 + 1/1000).
    assert z[1] == pytest.approx(0.5 / (0.289 * math.sqrt(0.011)), abs=3)
    assert abs(z[0]) < 3
    assert z.tolist() == mean_z(_sums(too_good).columns, _sums(usual).columns).tolist()


@given(st.tuples(rows(2), rows(2), rows(2)))
@settings(max_examples=40, deadline=None)
def test_the_order_of_merging_does_not_matter(parts: tuple[Doubles, Doubles, Doubles]) -> None:
    assert_order_does_not_matter(_sums, list(parts))
