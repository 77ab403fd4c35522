"""A batch, which is a dataclass, as a flat list of tensors and back: what compiled programs take."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from operator import attrgetter
from typing import Any, TypeVar

import torch

from agent_core.functional.ragged import largest_part, room_for, with_room
from agent_core.types import RaggedActions

_Batch = TypeVar("_Batch")


def tensors_of(batch: Any) -> list[torch.Tensor]:
    """All tensors of `batch`, in the order of its fields, those of dataclasses within it included."""
    found: list[torch.Tensor] = []
    for value in _values(batch):
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif is_dataclass(value):
            found += tensors_of(value)
    return found


def rebuilt(batch: _Batch, tensors: Iterator[torch.Tensor]) -> _Batch:
    """A batch like `batch` with other tensors, in the order of `tensors_of`."""
    changed: dict[str, Any] = {}
    for field in fields(batch):  # type: ignore[arg-type]  # any dataclass
        value = getattr(batch, field.name)
        if isinstance(value, torch.Tensor):
            changed[field.name] = next(tensors)
        elif is_dataclass(value):
            changed[field.name] = rebuilt(value, tensors)
    return replace(batch, **changed)  # type: ignore[type-var]  # any dataclass


def form_of(batch: Any) -> tuple[Hashable, ...]:
    """What a program is made for: shapes and strides, and whatever in `batch` is not a tensor. Of sets that differ
    in size it is all but how many actions they have together, which `room_of` tells."""
    if _is_ragged(batch):
        return ("ragged", _shape(batch.offsets), batch.features.shape[1:])
    return tuple(
        _shape(value)
        if isinstance(value, torch.Tensor)
        else form_of(value)
        if is_dataclass(value)
        else value
        for value in _values(batch)
    )


def longest_table(batch: Any) -> int:
    """How many actions the longest table has, of those with sets that differ in size; 0 without any."""
    return max((len(sets.features) for sets in _ragged_in(batch)), default=0)


def room_of(batch: Any, count: int) -> int | None:
    """How many rows every table of sets that differ in size needs, in each of `count` parts of `batch`: one of a
    short list of sizes. None without such sets: all shapes are known then."""
    needed = [largest_part(sets, count) for sets in _ragged_in(batch)]
    return room_for(max(needed)) if needed else None


def in_room(batch: _Batch, count: int, room: int | None) -> _Batch:
    """`batch` with tables of known sizes: sets that differ in size have `room` rows in each of `count` parts."""
    if room is None:
        return batch
    if isinstance(batch, RaggedActions):
        roomy = with_room(batch, count, room) if _is_ragged(batch) else batch
        return roomy  # type: ignore[return-value]  # what `_Batch` is here
    named = {field.name: getattr(batch, field.name) for field in fields(batch)}  # type: ignore[arg-type]  # any dataclass
    changed = {k: in_room(v, count, room) for k, v in named.items() if is_dataclass(v)}
    return replace(batch, **changed)  # type: ignore[type-var]  # any dataclass


def _ragged_in(batch: Any) -> list[RaggedActions]:
    if isinstance(batch, RaggedActions):
        return [batch] if _is_ragged(batch) else []
    parts = [value for value in _values(batch) if not isinstance(value, torch.Tensor)]
    return [sets for part in parts if is_dataclass(part) for sets in _ragged_in(part)]


def _is_ragged(value: Any) -> bool:
    """Whether where sets begin is a number in a tensor, which no program can ask for."""
    return isinstance(value, RaggedActions) and value.width is None


def _shape(tensor: torch.Tensor) -> Hashable:
    return tensor.shape, tensor.stride()


def _values(batch: Any) -> tuple[Any, ...]:
    return _getter(type(batch))(batch)  # type: ignore[arg-type]  # classes can be hashed


@lru_cache
def _getter(kind: type[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """Gets all fields of a dataclass that has two or more: asked anew for every batch, their names took longer."""
    return attrgetter(*(field.name for field in fields(kind)))
