"""Features that need no names: a vector of numbers, a box of them, or nothing at all."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from agent_core.interfaces import ModuleConfig


class VectorFeaturesConfig(ModuleConfig):
    """`dim` numbers in a fixed order, used as they are."""

    kind: Literal["vector"] = "vector"
    dim: int = Field(ge=1)


class BoxConfig(ModuleConfig):
    """Continuous actions: one number for each pair of limits in `low` and `high`."""

    kind: Literal["box"] = "box"
    low: Annotated[tuple[float, ...], Field(min_length=1)]
    high: Annotated[tuple[float, ...], Field(min_length=1)]

    @property
    def dim(self) -> int:
        return len(self.low)

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if len(self.low) != len(self.high):
            raise ValueError("`low` and `high` differ in length; give one of each for every number")
        if not all(low < high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError(
                "a `low` is not below its `high`, so there is no choice; exchange them"
            )
        return self


class NoFeaturesConfig(ModuleConfig):
    """Nothing: actions that carry only an id, or decisions without an observation."""

    kind: Literal["none"] = "none"
    dim: ClassVar[int] = 0
