"""Hypothesis strategies for rows, and what it means that the order of parts does not matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent_core.monitoring.storage import Arrays, Stored
from agent_core.types import Doubles

# Few values, so that features tie and are constant at times.
_values = st.integers(-3, 3).map(float) | st.floats(-100, 100, width=32)


def rows(columns: int, least: int = 1) -> st.SearchStrategy[Doubles]:
    """`[T, columns]`."""
    shapes = st.integers(least, 20).map(lambda count: (count, columns))
    return shapes.flatmap(lambda shape: hnp.arrays(np.float64, shape, elements=_values))


class Sums(Protocol):
    def merged(self, other: Self) -> Self: ...

    def to_arrays(self) -> Arrays: ...


def assert_order_does_not_matter(
    of: Callable[[Doubles], Any], parts: list[Doubles], tolerance: float = 1e-9
) -> None:
    """`parts`: three of them. Merged either way they are what all rows give at once."""
    a, b, c = (of(part) for part in parts)

    ways = [a.merged(b).merged(c), c.merged(a.merged(b)), b.merged(c).merged(a)]

    for way in ways:
        assert_same(way, of(np.concatenate(parts)), tolerance)


def assert_same(one: Sums, other: Sums, tolerance: float = 1e-9) -> None:
    found, expected = one.to_arrays(), other.to_arrays()
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert array == pytest.approx(expected[name], rel=tolerance, abs=tolerance * 1e3), name


def assert_comes_back(sums: Stored) -> None:
    arrays = {name: _through_bytes(array) for name, array in sums.to_arrays().items()}

    back = type(sums).from_arrays(arrays)

    assert type(back) is type(sums)
    for name, array in back.to_arrays().items():
        assert array.dtype == arrays[name].dtype
        assert np.array_equal(array, arrays[name], equal_nan=array.dtype.kind == "f")


def _through_bytes(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    assert array.dtype in (np.float64, np.int64, np.bool_)
    return np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)
