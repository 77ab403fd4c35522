"""Several safety modules at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, TypeAlias

import numpy as np
from pydantic import Field, model_validator

from agent_core.functional.parts import known_by_parts
from agent_core.interfaces import (
    Capability,
    PolicyLearner,
    SafetyConfig,
    SafetyModule,
)
from agent_core.types import ActionSet, Floats, Mask, ProblemSpec, RiskMeasure

if TYPE_CHECKING:
    PlainSafety: TypeAlias = SafetyConfig  # the registry puts its own union in place of it


class StackConfig(SafetyConfig):
    """All of `parts`: an action must pass every filter, one part at most measures risk, and of the
    constraints on learning the first is the innermost."""

    needs: ClassVar[frozenset[Capability]] = known_by_parts(
        frozenset(), lambda config: frozenset().union(*(part.needs for part in config.parts))
    )
    kind: Literal["stack"] = "stack"
    parts: Annotated[tuple[PlainSafety, ...], Field(min_length=1, max_length=16)]

    @model_validator(mode="after")
    def _has_one_opinion_on_risk(self) -> Self:
        measures = [at for at, part in enumerate(self.parts) if part.risk() is not None]
        if len(measures) > 1:
            places = " and ".join(f"parts.{at}" for at in measures)
            raise ValueError(f"{places} measure risk; keep one of them")
        return self

    @property
    def is_learned(self) -> bool:
        return any(part.is_learned for part in self.parts)

    def build(self) -> SafetyModule | None:
        built = (part.build() for part in self.parts)
        filters = tuple(module for module in built if module is not None)
        return Stack(filters) if filters else None

    def risk(self) -> RiskMeasure | None:
        measures = (part.risk() for part in self.parts)
        return next((measure for measure in measures if measure is not None), None)

    def constrain(self, learner: PolicyLearner, spec: ProblemSpec) -> PolicyLearner:
        for part in self.parts:
            learner = part.constrain(learner, spec)
        return learner


@dataclass(frozen=True, slots=True)
class Stack:
    """Keeps what all `filters`, at least one, keep."""

    filters: tuple[SafetyModule, ...]

    def allowed(self, state: Floats, actions: ActionSet) -> Mask:
        kept: Mask = np.logical_and.reduce([f.allowed(state, actions) for f in self.filters])
        return kept
