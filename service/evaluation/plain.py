"""How a log becomes vectors where no policy file says it: vectors as they are, named features by hashing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np

from agent_core.errors import FeatureError
from agent_core.features.numbers import finite_number, read_numbers
from agent_core.types import ActionSet, Floats
from service.decisions.schemas import ActionItem, Observation
from service.errors import InvalidError

BUCKETS: Final = 64
"""Numbers that named features are hashed to: reward models stay small, and a few dozen features hardly collide."""


class PlainEncoding:
    """Named features are hashed with signs (Weinberger et al. 2009, eq. 2): a number counts as it is, a string or
    a truth value as the feature `name=value` of 1."""

    def state(self, observation: Observation) -> Floats:
        """`[S]`.

        Raises:
            InvalidError: it has both forms or none, or is not finite.
        """
        if observation.vector is None and observation.features is None:
            detail = "send exactly one of `vector` and `features`"
            raise InvalidError("/observation", detail, field_code="one_form")
        return _numbers(observation.vector, observation.features, "/observation")

    def actions(self, given: Sequence[str | ActionItem]) -> ActionSet:
        """The set, with `[A, D]` features; D is 0 where actions are nothing but their ids.

        Raises:
            InvalidError: as `state`, there is no action, or one has more numbers than the others.
        """
        if not given:
            raise InvalidError(
                "/actions", "the set is empty; leave the row out", field_code="empty"
            )
        items = [ActionItem(id=one) if isinstance(one, str) else one for one in given]
        vectors = [
            _numbers(one.vector, one.features, f"/actions/{at}") for at, one in enumerate(items)
        ]
        for at, vector in enumerate(vectors):
            if len(vector) != len(vectors[0]):
                detail = f"{len(vector)} numbers found, the first action has {len(vectors[0])}; send as many for all"
                raise InvalidError(f"/actions/{at}", detail, field_code="wrong_length")
        return ActionSet(tuple(item.id for item in items), np.stack(vectors))

    def continuous(self, value: Sequence[float]) -> Floats:
        """`[D]`.

        Raises:
            InvalidError: it is not finite.
        """
        return _numbers(list(value), None, "/value")


def _numbers(
    vector: Sequence[float] | bytes | None, features: Mapping[str, Any] | None, pointer: str
) -> Floats:
    if vector is not None and features is not None:
        raise InvalidError(
            pointer, "send exactly one of `vector` and `features`", field_code="one_form"
        )
    try:
        if features is not None:
            return hashed(features)
        given = vector or []
        return read_numbers(given, len(given) // 4 if isinstance(given, bytes) else len(given))
    except FeatureError as error:
        raise InvalidError(
            f"{pointer}{error.pointer}", error.detail, field_code=error.code
        ) from None


def hashed(features: Mapping[str, Any]) -> Floats:
    """`[BUCKETS]`: named features, nested as they may be.

    Raises:
        FeatureError: a number is not finite, or a value is of no such kind.
    """
    out = np.zeros(BUCKETS)
    for name, value in _flat(features, ""):
        slot, sign = _slot(name)
        out[slot] += sign * value
    return out.astype(np.float32)


def _flat(value: Any, name: str) -> Iterator[tuple[str, float]]:
    """Innermost values by their dotted path."""
    match value:
        case None:
            return
        case dict():
            for key, inner in value.items():
                yield from _flat(inner, f"{name}.{key}" if name else key)
        case list():
            for at, inner in enumerate(value):
                yield from _flat(inner, f"{name}.{at}")
        case bool():
            yield f"{name}={str(value).lower()}", 1.0
        case str():
            yield f"{name}={value}", 1.0
        case _:
            yield name, finite_number(value, f"/{name}")


@lru_cache(maxsize=65_536)
def _slot(name: str) -> tuple[int, float]:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    number = int.from_bytes(digest, "little")
    return (number >> 1) % BUCKETS, 1.0 if number & 1 else -1.0
