"""Fixed rules: ids that are allowed or denied, limits on what an action is like, and conditions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from agent_core.interfaces import ModuleConfig, SafetyConfig
from agent_core.safety.predicate import Predicate, Reading
from agent_core.types import ActionSet, Floats, Mask


class FeatureBound(ModuleConfig):
    """Keeps actions whose represented feature number `feature` (0-based) lies in [`low`, `high`]."""

    feature: int = Field(ge=0)
    low: float | None = Field(default=None, ge=-1e18, le=1e18)
    high: float | None = Field(default=None, ge=-1e18, le=1e18)

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if self.low is None and self.high is None:
            raise ValueError("it limits nothing; give `low`, `high` or both")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("`low` is above `high`, so no action could pass; exchange them")
        return self


class ActionFilterConfig(SafetyConfig):
    """Removes the actions in `denied`, those not in `allowed` if it is given, those outside any of
    `bounds`, and those for which one of the conditions in `required` is not met."""

    kind: Literal["action_filter"] = "action_filter"
    denied: tuple[str, ...] = ()
    allowed: tuple[str, ...] | None = None
    bounds: tuple[FeatureBound, ...] = ()
    required: tuple[Predicate, ...] = Field(default=(), max_length=64)

    @model_validator(mode="after")
    def _says_one_thing_about_an_id(self) -> Self:
        if both := sorted({*self.denied} & {*(self.allowed or ())}):
            raise ValueError(
                f"{both} are both allowed and denied; remove them from one of the lists"
            )
        return self

    def build(self) -> ActionFilter:
        allowed = None if self.allowed is None else frozenset(self.allowed)
        return ActionFilter(frozenset(self.denied), allowed, self.bounds, self.required)

    def readings(self) -> Iterator[Reading]:
        """Every number of the state or of an action that a rule looks at."""
        for at, bound in enumerate(self.bounds):
            yield Reading(f"bounds.{at}.feature", "action", bound.feature)
        for at, predicate in enumerate(self.required):
            for path, side, feature in predicate.readings():
                yield Reading(f"required.{at}.{path}", side, feature)


@dataclass(frozen=True, slots=True)
class ActionFilter:
    """Every rule must be met."""

    denied: frozenset[str]
    only: frozenset[str] | None
    bounds: tuple[FeatureBound, ...]
    required: tuple[Predicate, ...]

    def allowed(self, state: Floats, actions: ActionSet) -> Mask:
        mask = np.fromiter((i not in self.denied for i in actions.ids), np.bool_, len(actions))
        if self.only is not None:
            mask &= np.fromiter((i in self.only for i in actions.ids), np.bool_, len(actions))
        for bound in self.bounds:
            column = actions.features[:, bound.feature]
            if bound.low is not None:
                mask &= column >= bound.low
            if bound.high is not None:
                mask &= column <= bound.high
        for predicate in self.required:
            mask &= predicate.holds(state, actions.features)
        return mask
