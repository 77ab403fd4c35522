"""Class variables of a config that is made of other configs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def known_by_parts(of_kind: T, of_config: Callable[[Any], T]) -> Any:
    """A class variable that a config answers for itself, from its parts.

    `of_kind`: what the class says, before any part is known. `of_config`: what a config says.
    """
    return _KnownByParts(of_kind, of_config)


class _KnownByParts(Generic[T]):
    def __init__(self, of_kind: T, of_config: Callable[[Any], T]) -> None:
        self._of_kind = of_kind
        self._of_config = of_config

    def __get__(self, config: object | None, owner: type) -> T:
        return self._of_kind if config is None else self._of_config(config)
