"""Sums as msgpack: numbers and arrays by their names, their types and shapes written down, nothing executable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol, Self

import msgspec
import numpy as np
import numpy.typing as npt

from agent_core.monitoring.storage import Arrays, Stored

_KINDS: Final = frozenset({"<f8", "<f4", "<i8", "|b1"})


class Sums(Protocol):
    """What a window keeps of its rows. Those of two parts can be merged, in any order."""

    def merged(self, other: Self) -> Self: ...

    def to_arrays(self) -> Arrays: ...


class PackedArray(msgspec.Struct, frozen=True, array_like=True):
    """`dtype` in numpy's notation, little-endian; `data` in C order."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


Packed = dict[str, PackedArray]


def packed(one: Sums | Stored) -> Packed:
    """The arrays of `one`."""
    return {name: _packed(np.asarray(array)) for name, array in one.to_arrays().items()}


def arrays(fields: Mapping[str, PackedArray]) -> Arrays:
    """What `from_arrays` takes.

    Raises:
        ValueError: an array is of another type than sums are, or its data do not fit its shape.
    """
    return {name: _array(field) for name, field in fields.items()}


def _packed(array: npt.NDArray[Any]) -> PackedArray:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return PackedArray(little.dtype.str, array.shape, little.tobytes())


def _array(field: PackedArray) -> npt.NDArray[Any]:
    if field.dtype not in _KINDS:
        raise ValueError(
            f"the stored array is of type {field.dtype!r}, not one of {sorted(_KINDS)}"
        )
    return np.frombuffer(field.data, field.dtype).reshape(field.shape).copy()
