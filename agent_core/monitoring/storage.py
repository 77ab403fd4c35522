"""Sums as named arrays, and back: the form in which they are kept, whatever the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Self, TypeAlias, get_type_hints

import numpy as np
import numpy.typing as npt

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]


class Stored:
    """A dataclass of arrays, numbers, and other dataclasses of such."""

    __slots__ = ()

    def to_arrays(self) -> Arrays:
        """Each field by its name, as an array of float64, int64 or bool; a number has the shape []."""
        return _flat(self)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """What `to_arrays` was called on.

        Raises:
            KeyError: a field is missing.
        """
        whole: Self = _whole(cls, arrays)
        return whole


def _flat(value: Any) -> Arrays:
    """A field of a field is named `outer.inner`."""
    flat: Arrays = {}
    for field in fields(value):
        part = getattr(value, field.name)
        if is_dataclass(part):
            flat |= {f"{field.name}.{name}": array for name, array in _flat(part).items()}
        else:
            flat[field.name] = np.asarray(part)
    return flat


def _whole(kind: Any, arrays: Mapping[str, npt.NDArray[Any]]) -> Any:
    parts = {}
    for name, hint in get_type_hints(kind).items():
        if is_dataclass(hint):
            prefix = f"{name}."
            inner = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
            parts[name] = _whole(hint, inner)
        else:
            parts[name] = arrays[name] if arrays[name].ndim else arrays[name].item()
    return kind(**parts)
