"""When a window is full, and that its sums do not depend on how rows arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.monitoring.moments import ColumnMoments
from service.monitoring.packing import PackedArray, Sums, arrays, packed
from service.monitoring.sampling import Budget
from service.monitoring.windows import PackedWindow, Series


@dataclass(frozen=True)
class _Row:
    at_ms: int


def _count(rows: Sequence[_Row]) -> dict[str, Sums]:
    return {"at": ColumnMoments.of(np.array([[float(row.at_ms)] for row in rows]))}


def _series(size: int = 10, duration_ms: int | None = None, least: int = 2) -> Series[_Row]:
    return Series(size, duration_ms, least, _count)


def _rows(*times: int) -> list[_Row]:
    return [_Row(at) for at in times]


def test_a_window_is_full_after_its_number_of_rows() -> None:
    series = _series(3)

    series.add(_rows(*range(7)))

    assert [(one.began_ms, one.ended_ms) for one in series.closed] == [(0, 2), (3, 5)]
    assert series.open is not None
    assert series.open.count == 1


def test_a_window_ends_in_time_if_it_has_enough_rows() -> None:
    series = _series(10, duration_ms=100, least=2)

    series.add(_rows(0, 50, 100, 150, 210))

    assert [(one.began_ms, one.count) for one in series.closed] == [(0, 2), (100, 2)]


def test_a_window_with_too_few_rows_waits_for_more_whatever_the_time() -> None:
    series = _series(10, duration_ms=100, least=3)

    series.add(_rows(0, 500, 900))
    assert series.closed == []
    series.add(_rows(901))

    assert [one.count for one in series.closed] == [3]


def test_however_many_windows_close_at_once_all_wait_to_be_judged() -> None:
    series = _series(1)

    series.add(_rows(*range(100)))

    assert [one.began_ms for one in series.closed] == list(range(100))


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=60),
    st.lists(st.integers(1, 20), min_size=1, max_size=60),
    st.integers(2, 12),
    st.one_of(st.none(), st.integers(10, 200)),
)
def test_how_rows_arrive_does_not_matter(
    gaps: list[int], sizes: list[int], size: int, duration_ms: int | None
) -> None:
    rows = _rows(*np.cumsum(gaps).tolist())
    whole, parts = (_series(size, duration_ms, 2) for _ in range(2))

    whole.add(rows)
    rest = rows
    for count in sizes:
        parts.add(rest[:count])
        rest = rest[count:]
    parts.add(rest)

    assert [(w.count, w.began_ms, w.ended_ms) for w in parts.closed] == [
        (w.count, w.began_ms, w.ended_ms) for w in whole.closed
    ]
    for one, other in zip(parts.closed, whole.closed, strict=True):
        np.testing.assert_allclose(one.sums["at"].mean, other.sums["at"].mean)


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=30))
def test_a_series_comes_back_from_its_bytes(times: list[int]) -> None:
    series, again = _series(7), _series(7)
    series.add(_rows(*sorted(times)))

    again.restore(series.packed(), {"at": ColumnMoments})

    assert again.packed() == series.packed()


def test_sums_of_another_program_are_refused() -> None:
    odd = PackedWindow(1, 0, 0, {"at": {"count": PackedArray("|O", (1,), b"12345678")}})

    with pytest.raises(ValueError, match="type"):
        odd.window({"at": ColumnMoments})
    with pytest.raises(KeyError):
        odd.window({})


def test_arrays_keep_their_types_and_shapes() -> None:
    sums = ColumnMoments(3, np.array([1.0, 2.0]), np.array([0.5, 0.25]))

    again = ColumnMoments.from_arrays(arrays(packed(sums)))

    assert again.count == 3
    np.testing.assert_array_equal(again.mean, sums.mean)
    np.testing.assert_array_equal(again.scatter, sums.scatter)


def test_a_budget_allows_so_many_a_second() -> None:
    budget = Budget(10)

    # One a ms for three seconds: the first token is there, then ten a second.
    allowed = sum(budget.allows(1_000 + at) for at in range(3_000))

    assert 30 <= allowed <= 40


def test_what_was_saved_up_lasts_for_a_second_at_most() -> None:
    budget = Budget(10)
    budget.allows(0)

    allowed = sum(budget.allows(3_600_000) for _ in range(100))

    assert allowed == 10


def test_a_clock_that_goes_back_saves_nothing_up() -> None:
    budget = Budget(1)

    assert [budget.allows(at) for at in (10_000, 0, 10_000)] == [True, False, False]
