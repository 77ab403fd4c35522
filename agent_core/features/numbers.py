"""What counts as a usable number, and a refusal that says which one is not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from agent_core.errors import FeatureError
from agent_core.types import Floats

LARGEST_NUMBER = 1e18
"""A float32 holds up to 3e38, and products of two inputs must stay finite as well."""

Numbers = bytes | memoryview | Sequence[float]
"""Python numbers, or little-endian float32 bytes."""

_Raw = npt.NDArray[np.float32] | npt.NDArray[np.float64]
_WIRE = np.dtype("<f4")
_REAL = frozenset((int, float))


def finite_number(value: object, pointer: str) -> float:
    """`value` as a float, if it is a number of magnitude up to `LARGEST_NUMBER`.

    Raises:
        FeatureError: `wrong_type` (also a bool, or a number in quotes), `not_finite`, `too_large`.
    """
    if isinstance(value, (int, float)) and type(value) in _REAL:
        if -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
            return float(value)
        raise _out_of_range(value, pointer)
    raise _not_a_number(pointer)


def read_numbers(
    values: Numbers, count: int, pointer_of: Callable[[int], str] = "/{}".format
) -> Floats:
    """`values` as `[count]` float32; bytes are viewed, not copied.

    `pointer_of`: position of a number -> where it came from.

    Raises:
        FeatureError: `wrong_length`, `wrong_type`, `not_finite`, `too_large`.
    """
    if isinstance(values, (bytes, memoryview)):
        raw = _unpacked(values)
    else:
        raw = _converted(values, pointer_of)
    if raw.size != count:
        raise FeatureError("", "wrong_length", f"expected {count} numbers, found {raw.size}")
    if count and not _all_within_range(raw):
        at = int(np.flatnonzero(~(np.abs(raw) <= LARGEST_NUMBER))[0])
        raise _out_of_range(float(raw[at]), pointer_of(at))
    return raw.astype(np.float32, copy=False)


def _all_within_range(raw: _Raw) -> bool:
    # Looks at the extremes by position. A maximum costs twice as much, and a dot product raises a
    # floating-point warning on overflow. argmax and argmin both stop at the first NaN.
    largest, smallest = raw[raw.argmax()], raw[raw.argmin()]
    return bool(largest <= LARGEST_NUMBER and smallest >= -LARGEST_NUMBER)


def _unpacked(values: bytes | memoryview) -> _Raw:
    size = memoryview(values).nbytes
    if size % _WIRE.itemsize:
        raise FeatureError("", "wrong_length", f"{size} bytes are not whole float32 numbers")
    return np.frombuffer(values, _WIRE)


def _converted(values: Sequence[float], pointer_of: Callable[[int], str]) -> _Raw:
    if not _REAL.issuperset(map(type, values)):
        at = next(at for at, value in enumerate(values) if type(value) not in _REAL)
        raise _not_a_number(pointer_of(at))
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError:  # an integer of more than 308 digits
        at = next(at for at, value in enumerate(values) if abs(value) > LARGEST_NUMBER)
        raise _out_of_range(values[at], pointer_of(at)) from None


def _not_a_number(pointer: str) -> FeatureError:
    return FeatureError(pointer, "wrong_type", "expected a number; send it bare, without quotes")


def _out_of_range(value: float, pointer: str) -> FeatureError:
    if not abs(value) < math.inf:  # NaN or infinite; `isfinite` fails on an integer of 400 digits
        return FeatureError(
            pointer, "not_finite", "expected a finite number; mend it at the source"
        )
    detail = f"expected a magnitude up to {LARGEST_NUMBER:g}; rescale it at the source"
    return FeatureError(pointer, "too_large", detail)
