from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_core.monitoring.moments import (
    ColumnMoments,
    cautious_mean,
    gaussian_kl,
    kl_p_value,
    mean_z,
)
from agent_core.monitoring.tails import chi_squared_tail
from agent_core.types import Doubles
from tests.agent_core.monitoring.strategies import assert_order_does_not_matter, rows


def _moments(count: int, mean: float, variance: float) -> ColumnMoments:
    return ColumnMoments(count, np.array([mean]), np.array([variance * (count - 1)]))


def test_moments_are_the_mean_and_the_squared_distances() -> None:
    moments = ColumnMoments.of(np.array([[1.0, 10], [2, 10], [6, 10]]))

    # Mean 3; 4 + 1 + 9 = 14; 14 / 2 = 7.
    assert moments.count == 3
    assert moments.mean.tolist() == [3.0, 10.0]
    assert moments.scatter.tolist() == [14.0, 0.0]
    assert moments.variance.tolist() == [7.0, 0.0]
    assert moments.is_constant.tolist() == [False, True]


def test_rounding_is_no_variance() -> None:
    assert ColumnMoments.of(np.full((7, 1), 0.1)).is_constant.all()


def test_one_row_says_nothing_about_variance() -> None:
    assert ColumnMoments.of(np.ones((1, 2))).variance.tolist() == [math.inf, math.inf]


def test_z_counts_in_standard_errors_of_means() -> None:
    # 400 rows against very many of deviation 2: an error of 2 / sqrt(400) = 0.1.
    assert mean_z(_moments(400, 4.8, 9.0), _moments(10**12, 5.0, 4.0)) == pytest.approx([-2.0])
    # Against as many: 2 sqrt(1/400 + 1/400) = 0.1414.
    assert mean_z(_moments(400, 4.8, 9.0), _moments(400, 5.0, 4.0)) == pytest.approx([-(2**0.5)])


def test_a_constant_baseline_is_kept_or_left() -> None:
    baseline = ColumnMoments.of(np.full((9, 3), 0.1))

    z = mean_z(ColumnMoments.of(np.tile([0.1, 0.2, 0.0], (4, 1))), baseline)

    assert z.tolist() == [0.0, math.inf, -math.inf]


def test_a_cautious_mean_is_some_standard_errors_lower() -> None:
    # 2 sqrt(4 / 100) = 0.4
    assert cautious_mean(_moments(100, 5.0, 4.0), errors=2.0) == pytest.approx([4.6])


def test_the_divergence_is_that_of_the_formula() -> None:
    # 1/2 (8/4 + 1/4 - 1 - ln 2) = 1/2 (1.25 - 0.6931)
    found = gaussian_kl(_moments(50, 1.0, 8.0), _moments(90, 0.0, 4.0))

    assert found == pytest.approx(0.5 * (1.25 - math.log(2)))


def test_columns_add_up_and_constant_ones_are_left_out() -> None:
    window = ColumnMoments(50, np.array([1.0, 7.0, 1.0]), np.array([8.0, 1.0, 8.0]) * 49)
    reference = ColumnMoments(90, np.array([0.0, 3.0, 0.0]), np.array([4.0, 0.0, 4.0]) * 89)

    assert gaussian_kl(window, reference) == pytest.approx(1.25 - math.log(2))


def test_a_window_that_became_constant_is_infinitely_far() -> None:
    window, reference = _moments(50, 0.0, 0.0), _moments(90, 0.0, 4.0)

    assert gaussian_kl(window, reference) == math.inf
    assert kl_p_value(window, reference) == 0.0


def test_the_p_value_is_the_chi_squared_tail_of_twice_the_scaled_divergence() -> None:
    window, reference = _moments(100, 0.2, 1.0), _moments(300, 0.0, 1.0)

    # KL = 0.04 / 2; n m / (n + m) = 75; 2 * 75 * 0.02 = 3, with 2 degrees of freedom.
    assert kl_p_value(window, reference) == pytest.approx(chi_squared_tail(3.0, 2))
    assert kl_p_value(_moments(9, 1.0, 0.0), _moments(9, 1.0, 0.0)) == 1.0


def test_normal_windows_without_a_change_alarm_as_often_as_asked() -> None:
    random = np.random.default_rng(2)
    reference = ColumnMoments.of(random.standard_normal((4000, 6)))

    alarms = [
        kl_p_value(ColumnMoments.of(random.standard_normal((500, 6))), reference) < 0.05
        for _ in range(1000)
    ]

    # Binomial(1000, 0.05): mean 50, deviation 6.9.
    assert 30 <= sum(alarms) <= 75


@given(st.tuples(rows(3), rows(3), rows(3)))
@settings(max_examples=40, deadline=None)
def test_the_order_of_merging_does_not_matter(parts: tuple[Doubles, Doubles, Doubles]) -> None:
    assert_order_does_not_matter(ColumnMoments.of, list(parts))


@given(rows(2, least=2), rows(2, least=2))
@settings(max_examples=40, deadline=None)
def test_the_divergence_is_never_negative(window: Doubles, reference: Doubles) -> None:
    found = gaussian_kl(ColumnMoments.of(window), ColumnMoments.of(reference))

    assert found >= -1e-9
    assert 0 <= kl_p_value(ColumnMoments.of(window), ColumnMoments.of(reference)) <= 1
