"""A batch, which is a dataclass, as a flat list of tensors and back: what compiled programs take."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch

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
    """What a program is made for: shapes and strides, and whatever in `batch` is not a tensor."""
    return tuple(
        (value.shape, value.stride())
        if isinstance(value, torch.Tensor)
        else form_of(value)
        if is_dataclass(value)
        else value
        for value in _values(batch)
    )


def is_ragged(batch: Any) -> bool:
    """Whether where sets of `batch` begin is a number in a tensor, which no program can ask for."""
    if isinstance(batch, RaggedActions):
        return batch.width is None
    return any(is_ragged(value) for value in _values(batch) if is_dataclass(value))


def _values(batch: Any) -> list[Any]:
    return [getattr(batch, field.name) for field in fields(batch)]
