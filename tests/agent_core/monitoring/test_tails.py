from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from agent_core.monitoring.tails import bonferroni, chi_squared_tail, normal_tail, upper_tails


@pytest.mark.parametrize(
    ("statistic", "freedom", "tail"),
    # The 5 % and 1 % points of the table of every textbook.
    [(3.841, 1, 0.05), (18.307, 10, 0.05), (23.209, 10, 0.01), (124.342, 100, 0.05)],
)
def test_chi_squared_is_that_of_the_table(statistic: float, freedom: int, tail: float) -> None:
    assert chi_squared_tail(statistic, freedom) == pytest.approx(tail, rel=1e-3)


def test_two_degrees_of_freedom_are_an_exponential() -> None:
    for statistic in (0.1, 1.0, 5.0, 40.0, 700.0):
        assert chi_squared_tail(statistic, 2) == pytest.approx(math.exp(-statistic / 2), rel=1e-12)


@pytest.mark.parametrize("freedom", [4, 50, 300])
def test_even_degrees_of_freedom_have_a_finite_sum(freedom: int) -> None:
    # Q(k, x) = e^-x (1 + x + ... + x^(k - 1) / (k - 1)!)
    for at in (0.2 * freedom, 0.5 * freedom, 0.9 * freedom):
        logs = [n * math.log(at) - math.lgamma(n + 1) - at for n in range(freedom // 2)]
        exact = math.fsum(map(math.exp, logs))
        assert chi_squared_tail(2 * at, freedom) == pytest.approx(exact, rel=1e-11)


def test_one_degree_of_freedom_is_a_squared_normal() -> None:
    # P(z^2 >= 4) = 2 P(z >= 2)
    assert chi_squared_tail(4.0, 1) == pytest.approx(2 * normal_tail(2.0), rel=1e-12)


@pytest.mark.parametrize("freedom", [1, 2, 3, 9, 50, 512, 5_000])
def test_chi_squared_agrees_with_another_implementation(freedom: int) -> None:
    deviation = math.sqrt(2 * freedom)

    for steps in range(-4, 12):
        statistic = max(freedom + steps * deviation, 1e-3)
        shape, at = (torch.tensor(x / 2, dtype=torch.float64) for x in (freedom, statistic))
        expected = float(torch.special.gammaincc(shape, at))
        # Which is itself off by 1e-9 near the mean.
        assert chi_squared_tail(statistic, freedom) == pytest.approx(expected, rel=1e-8)


def test_the_ends_of_chi_squared_are_1_and_0() -> None:
    assert chi_squared_tail(0.0, 3) == 1.0
    assert chi_squared_tail(math.inf, 3) == 0.0
    assert chi_squared_tail(1e5, 3) == 0.0


def test_a_normal_number_is_above_1_96_in_a_fortieth_of_all_cases() -> None:
    assert normal_tail(1.959963984540054) == pytest.approx(0.025)
    assert normal_tail(0.0) == 0.5


def test_the_smallest_p_value_of_many_counts_as_often_as_there_are() -> None:
    assert bonferroni(np.array([0.2, 0.004, 0.9])) == pytest.approx(0.012)
    assert bonferroni(np.array([0.5, 0.9])) == 1.0


def test_a_feature_without_freedom_says_nothing() -> None:
    tails = upper_tails(np.array([0.0, 3.841]), np.array([0.0, 1.0]))

    assert tails == pytest.approx([1.0, 0.05], rel=1e-3)
