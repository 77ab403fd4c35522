"""The bound that may be looked at any number of times."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent_core.evaluation.betting import Tally, betting_lower
from agent_core.types import Doubles

_added = hnp.arrays(np.float64, st.integers(1, 30), elements=st.just(0.0) | st.floats(1e-6, 1e6))


def test_nothing_is_refuted_where_nothing_was_earned() -> None:
    assert betting_lower(Tally.of(np.zeros(1000)), 0.05) == 0.0


def test_a_row_of_ones_is_refuted_as_the_formula_says() -> None:
    # Against the mean 1/2 a share c grows to (1 + c)^8 with eight rows of 1. At the delta where the average
    # of 20 such wealths, for shares from 1e-4 to 1/2 in equal ratios, is 1 / delta, the bound is 1/2.
    wealth = float(np.mean((1 + np.geomspace(1e-4, 0.5, 20)) ** 8))

    assert betting_lower(Tally.of(np.ones(8)), 1 / wealth) == pytest.approx(0.5)


def test_values_are_tallied_no_higher_than_they_are() -> None:
    tally = Tally.of(np.array([3.0, 0.0, 1.0, 3.0, 0.0]))

    # 0 and 1 are on the grid; 3 is within a 128th of a doubling.
    assert tally.counts.tolist() == [2, 1, 2]
    assert tally.values[:2].tolist() == [0.0, 1.0]
    assert 3 * 2 ** (-1 / 128) < tally.values[2] <= 3


@given(_added, _added)
def test_shards_add_up_to_the_whole(first: Doubles, rest: Doubles) -> None:
    merged = Tally.of(first).merged(Tally.of(rest))

    whole = Tally.of(np.concatenate([first, rest]))
    assert merged.values.tolist() == whole.values.tolist()
    assert merged.counts.tolist() == whole.counts.tolist()


@given(_added, st.floats(0.001, 0.5))
def test_the_bound_lies_between_nothing_and_the_mean(added: Doubles, delta: float) -> None:
    assert 0 <= betting_lower(Tally.of(added), delta) <= added.mean()


def test_looking_all_the_time_does_not_break_the_bound() -> None:
    generator = np.random.default_rng(2)
    logs = 10.0 * generator.binomial(1, 0.05, (100, 800))

    highest = [
        max(betting_lower(Tally.of(log[:rows]), 0.1) for rows in range(50, 801, 50)) for log in logs
    ]

    # 10 of 100 may be above the true 0.5 at any of 16 looks; with chance, 1 in 1000 tests has over 19.
    assert (np.array(highest) > 0.5).sum() <= 19
