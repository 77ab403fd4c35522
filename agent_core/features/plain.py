"""Features that need no names: a vector of numbers, or nothing at all."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from agent_core.interfaces import ModuleConfig


class VectorFeaturesConfig(ModuleConfig):
    """`dim` numbers in a fixed order, used as they are."""

    kind: Literal["vector"] = "vector"
    dim: int = Field(ge=1)


class NoFeaturesConfig(ModuleConfig):
    """Nothing: actions that carry only an id, or decisions without an observation."""

    kind: Literal["none"] = "none"
    dim: ClassVar[int] = 0
