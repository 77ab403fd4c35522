from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_core.monitoring.reservoir import Reservoir
from agent_core.types import Doubles
from tests.agent_core.monitoring.strategies import assert_same, rows


def test_fewer_rows_than_places_are_all_kept() -> None:
    values = np.arange(6.0).reshape(3, 2)

    reservoir = Reservoir.of(values, 10, np.random.default_rng(0))

    assert sorted(reservoir.rows.tolist()) == values.tolist()
    assert reservoir.seen == 3


def test_the_same_seed_keeps_the_same_rows() -> None:
    values = np.arange(1000.0)[:, None]

    one, same, other = (Reservoir.of(values, 9, np.random.default_rng(s)) for s in (1, 1, 2))

    assert np.array_equal(one.rows, same.rows)
    assert not np.array_equal(one.rows, other.rows)


def test_each_row_of_each_part_is_as_likely_to_be_kept() -> None:
    kept = np.zeros(100)
    for seed in range(400):
        random = np.random.default_rng(seed)
        short = Reservoir.of(np.arange(10.0)[:, None], 20, random)
        long = Reservoir.of(np.arange(10.0, 100.0)[:, None], 20, random)
        both = short.merged(long)
        kept[both.rows[:, 0].astype(int)] += 1

        assert both.seen == 100
        assert len(both.rows) == 20

    # Binomial(400, 0.2) each: mean 80, deviation 8; of ten rows together a mean of 800 and 25.
    assert abs(kept[:10].sum() - 800) < 100
    assert (np.abs(kept - 80) < 40).all()


@given(st.tuples(rows(2), rows(2), rows(2)))
@settings(max_examples=40, deadline=None)
def test_the_order_of_merging_does_not_matter(parts: tuple[Doubles, Doubles, Doubles]) -> None:
    random = np.random.default_rng(0)
    a, b, c = (Reservoir.of(part, 7, random) for part in parts)

    assert_same(a.merged(b).merged(c), c.merged(b.merged(a)))
    assert len(a.merged(b).merged(c).rows) == min(7, sum(map(len, parts)))
