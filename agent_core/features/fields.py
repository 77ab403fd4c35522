"""The types of a named feature: how one value becomes numbers.

A missing value (absent or null) is refused unless its field is `optional`. Then a number or a flag gets
one more slot, which is 1 when the value is missing; a category or a hashed field needs none, because
all zeros means missing already.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StrictInt, StrictStr, field_validator

from agent_core.errors import FeatureError
from agent_core.features.numbers import finite_number
from agent_core.interfaces import ModuleConfig
from agent_core.types import Floats

_SIGN_BIT = 1 << 63


class NamedField(ModuleConfig, ABC):
    """Base of field types. A field owns `width` slots of the encoded vector."""

    optional: bool = False

    @property
    @abstractmethod
    def width(self) -> int: ...

    @abstractmethod
    def write(self, value: object, out: Floats, pointer: str) -> None:
        """Encodes a present value into `out` `[width]`, which holds what a missing value reads as.

        Raises:
            FeatureError: at `pointer`, when `value` does not fit.
        """

    def write_missing(self, out: Floats) -> None:
        """Encodes a missing value into `out` `[width]` zeros."""


class _ScalarField(NamedField, ABC):
    """One slot, and one for "missing" when optional."""

    @property
    def width(self) -> int:
        return 2 if self.optional else 1

    def write_missing(self, out: Floats) -> None:
        if self.optional:
            out[1] = 1.0

    def _write_present(self, number: float, out: Floats) -> None:
        out[0] = number
        if self.optional:
            out[1] = 0.0


class NumberField(_ScalarField):
    """(value - mean) / scale."""

    type: Literal["number"]
    mean: float = 0.0
    scale: float = Field(default=1.0, gt=0.0)

    def write(self, value: object, out: Floats, pointer: str) -> None:
        standardized = (finite_number(value, pointer) - self.mean) / self.scale
        self._write_present(finite_number(standardized, pointer), out)


class FlagField(_ScalarField):
    """1 for true, 0 for false."""

    type: Literal["flag"]

    def write(self, value: object, out: Floats, pointer: str) -> None:
        if not isinstance(value, bool):
            raise FeatureError(pointer, "wrong_type", "expected true or false")
        self._write_present(float(value), out)


class CategoryField(NamedField):
    """One-hot over `values`, and a last slot for any other value. 1 and "1" are different values."""

    type: Literal["category"]
    values: tuple[StrictStr | StrictInt, ...] = Field(min_length=1)

    @field_validator("values")
    @classmethod
    def _values_are_distinct(cls, values: tuple[str | int, ...]) -> tuple[str | int, ...]:
        if len(set(values)) < len(values):
            raise ValueError("a value is listed twice; list each once")
        return values

    @property
    def width(self) -> int:
        return len(self.values) + 1

    @cached_property
    def _slots(self) -> dict[object, int]:
        return {value: slot for slot, value in enumerate(self.values)}

    def write(self, value: object, out: Floats, pointer: str) -> None:
        if type(value) not in (str, int):  # a bool would be looked up as 0 or 1
            raise FeatureError(pointer, "wrong_type", "expected a string or a whole number")
        out[self._slots.get(value, -1)] = 1.0


class HashedField(NamedField):
    """Signed feature hashing of a string, a number (as an identifier: its text) or a list of those.

    Each token adds +1 or -1 to one of `buckets` slots; Weinberger et al. 2009, eq. 2. blake2b is the
    same in every process and on every machine, unlike `hash`.
    """

    type: Literal["hashed"]
    buckets: int = Field(ge=1, le=1 << 20)

    @property
    def width(self) -> int:
        return self.buckets

    def write(self, value: object, out: Floats, pointer: str) -> None:
        if isinstance(value, (list, tuple)):
            for position, item in enumerate(value):
                self._add(item, out, f"{pointer}/{position}")
        else:
            self._add(value, out, pointer)

    def _add(self, token: object, out: Floats, pointer: str) -> None:
        text = _identifier(token, pointer).encode("utf-8", "surrogatepass")
        number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
        out[(number & ~_SIGN_BIT) % self.buckets] += 1.0 if number & _SIGN_BIT else -1.0


def _identifier(token: object, pointer: str) -> str:
    if isinstance(token, str):
        return token
    if isinstance(token, bool) or not isinstance(token, (int, float)):
        detail = "expected a string, a number or a list of those"
        raise FeatureError(pointer, "wrong_type", detail)
    number = finite_number(token, pointer)
    # 7 and 7.0 are one identifier: JSON writers differ in which of the two they send.
    return str(int(token)) if number.is_integer() else repr(number)


AnyField: TypeAlias = Annotated[
    NumberField | FlagField | CategoryField | HashedField, Field(discriminator="type")
]
