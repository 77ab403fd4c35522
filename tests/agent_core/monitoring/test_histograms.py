from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_core.monitoring.histograms import Bins, Counts, psi, psi_p_values
from agent_core.monitoring.tails import bonferroni, chi_squared_tail
from agent_core.types import Doubles
from tests.agent_core.monitoring.strategies import assert_order_does_not_matter, rows


def test_bins_of_distinct_values_hold_equally_many() -> None:
    bins = Bins.of(np.arange(1.0, 9.0)[:, None], bins=4)

    # Half way between 2 and 3, 4 and 5, 6 and 7.
    assert bins.edges.tolist() == [[2.5, 4.5, 6.5]]
    assert Counts.of(bins, np.arange(1.0, 9.0)[:, None]).rows.tolist() == [[2, 2, 2, 2]]


def test_edges_lie_between_whole_numbers_and_never_on_one() -> None:
    numbers = np.array([0.0] * 50 + [1.0] * 30 + [2.0] * 20)[:, None]

    bins = Bins.of(numbers, bins=10)

    assert bins.edges[0, :2].tolist() == [0.5, 1.5]
    assert np.isinf(bins.edges[0, 2:]).all()
    assert Counts.of(bins, numbers).rows[0].tolist() == [50, 30, 20, *[0] * 7]


def test_a_constant_feature_shows_what_is_below_and_above_it() -> None:
    bins = Bins.of(np.full((5, 1), 0.1), bins=4)

    counts = Counts.of(bins, np.array([[0.1], [0.1], [0.0999], [0.2], [7.0]]))

    assert counts.rows.tolist() == [[1, 2, 2, 0]]


def test_a_constant_feature_that_changes_is_seen() -> None:
    bins = Bins.of(np.full((1000, 1), 3.0))
    reference = Counts.of(bins, np.full((1000, 1), 3.0)).rows

    same = Counts.of(bins, np.full((200, 1), 3.0)).rows
    other = Counts.of(bins, np.full((200, 1), 4.0)).rows

    assert psi_p_values(reference, same) == [1.0]
    assert psi_p_values(reference, other) < 1e-9


def test_the_index_is_that_of_the_formula() -> None:
    reference, window = np.array([[99, 299]]), np.array([[49, 49]])

    # With half a row more in each bin: 99.5 of 399 and 49.5 of 99.
    r, w = 99.5 / 399, 49.5 / 99
    by_hand = (w - r) * math.log(w / r) + (r - w) * math.log((1 - w) / (1 - r))
    assert psi(reference, window) == pytest.approx([by_hand])


def test_bins_that_nobody_is_in_do_not_count() -> None:
    reference, window = np.array([[100, 300]]), np.array([[50, 50]])
    none = np.zeros((1, 3), np.int64)

    padded = psi(np.concatenate([reference, none], 1), np.concatenate([window, none], 1))

    assert padded == pytest.approx(psi(reference, window))


def test_the_p_value_is_the_chi_squared_tail_of_the_scaled_index() -> None:
    reference, window = np.array([[1000, 1000, 2000]]), np.array([[120, 90, 190]])

    # n m / (n + m) = 4000 * 400 / 4400, and 3 - 1 degrees of freedom.
    statistic = float(psi(reference, window)[0]) * 4000 * 400 / 4400
    assert psi_p_values(reference, window) == pytest.approx([chi_squared_tail(statistic, 2)])


def test_rare_bins_count_as_one() -> None:
    # Of 100 rows in the window, 0.5 % or 0.5 rows can be expected in each of the last twenty bins.
    reference = np.array([[4500, 4500, *[50] * 20]])
    window = np.array([[45, 45, *[1] * 10, *[0] * 10]])

    together = psi_p_values(np.array([[4500, 4500, 1000]]), np.array([[45, 45, 10]]))

    assert psi_p_values(reference, window) == pytest.approx(together)


@pytest.mark.parametrize("rows_of_window", [200, 2000])
def test_windows_without_a_change_alarm_as_often_as_asked(rows_of_window: int) -> None:
    random = np.random.default_rng(1)
    # Half normal, half whole numbers.

    def draw(count: int) -> Doubles:
        return np.column_stack(
            [random.standard_normal((count, 4)), random.poisson(3.0, (count, 4))]
        )

    reference = draw(8000)
    bins = Bins.of(reference)
    of_reference = Counts.of(bins, reference).rows

    alarms = [
        bonferroni(psi_p_values(of_reference, Counts.of(bins, draw(rows_of_window)).rows)) < 0.05
        for _ in range(300)
    ]

    # Binomial(300, 0.05): mean 15, deviation 3.8.
    assert sum(alarms) <= 28


@given(st.tuples(rows(2), rows(2), rows(2)), rows(2))
@settings(max_examples=40, deadline=None)
def test_the_order_of_merging_does_not_matter(
    parts: tuple[Doubles, Doubles, Doubles], reference: Doubles
) -> None:
    bins = Bins.of(reference, 5)

    assert_order_does_not_matter(lambda part: Counts.of(bins, part), list(parts))


@given(rows(3))
@settings(max_examples=40, deadline=None)
def test_every_row_is_in_one_bin_of_each_feature(reference: Doubles) -> None:
    bins = Bins.of(reference, 4)

    counts = Counts.of(bins, reference).rows

    assert counts.shape == (3, 4)
    assert (counts.sum(1) == len(reference)).all()
    assert (np.diff(np.nan_to_num(bins.edges, posinf=1e300)) >= 0).all()
    assert (psi(counts, counts) == 0).all()
