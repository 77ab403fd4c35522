"""Fixed rules: ids that are denied, and limits on what an action is like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from agent_core.interfaces import ModuleConfig, SafetyConfig
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
    """Removes the actions in `denied`, and those outside any of `bounds`."""

    kind: Literal["action_filter"] = "action_filter"
    denied: tuple[str, ...] = ()
    bounds: tuple[FeatureBound, ...] = ()

    def build(self) -> ActionFilter:
        return ActionFilter(frozenset(self.denied), self.bounds)


@dataclass(frozen=True, slots=True)
class ActionFilter:
    """The same actions in every state."""

    denied: frozenset[str]
    bounds: tuple[FeatureBound, ...]

    def allowed(self, state: Floats, actions: ActionSet) -> Mask:
        mask = np.fromiter((i not in self.denied for i in actions.ids), np.bool_, len(actions))
        for bound in self.bounds:
            column = actions.features[:, bound.feature]
            if bound.low is not None:
                mask &= column >= bound.low
            if bound.high is not None:
                mask &= column <= bound.high
        return mask
