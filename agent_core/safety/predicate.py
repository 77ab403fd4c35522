"""Conditions on numbers of the state and of an action, written as data: nothing is ever evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeAlias

import numpy as np
from pydantic import Field, model_validator

from agent_core.interfaces import ModuleConfig
from agent_core.types import Floats, Mask

DEEPEST = 8
"""Conditions within conditions; a limit that no rule that a person can read comes near."""

Side: TypeAlias = Literal["action", "state"]
Number: TypeAlias = Annotated[float, Field(ge=-1e18, le=1e18)]
Numbers: TypeAlias = Annotated[tuple[Number, ...], Field(min_length=1, max_length=1024)]
Several: TypeAlias = Annotated[tuple["Predicate", ...], Field(min_length=1, max_length=64)]


class Reading(NamedTuple):
    """One look at a number. `path`: where it is written, below the predicate."""

    path: str
    side: Side
    feature: int


class Predicate(ModuleConfig):
    """Either a comparison, or exactly one of `all`, `any` and `none` with conditions in it.

        {feature: 0, op: "<=", value: 3.5}                    # of the represented action
        {feature: 2, of: state, op: in, value: [1, 4]}        # of the state, as the learner sees it
        {any: [{feature: 0, op: "<", value: 1}, {none: [{feature: 1, op: "==", value: 0}]}]}

    `feature` counts from 0. `none` holds where not one of its conditions does. Numbers are compared as
    float32, which is what features are, so 0.9 equals a feature that was given as 0.9.
    """

    feature: int | None = Field(default=None, ge=0)
    of: Side = "action"
    op: Literal["<", "<=", "==", "!=", ">=", ">", "in", "not_in"] | None = None
    value: Number | Numbers | None = None
    all: Several | None = None
    any: Several | None = None
    none: Several | None = None

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        parts = [self.feature, self.op, self.value]
        given = sum(group is not None for group in (self.all, self.any, self.none))
        compares = any(part is not None for part in parts) or self.of != "action"
        if given + compares != 1:
            raise ValueError(
                "it is not one condition; give `feature`, `op` and `value`, "
                "or one of `all`, `any` and `none`"
            )
        if compares and None in parts:
            raise ValueError(
                "the comparison is not whole; give all three of `feature`, `op` and `value`"
            )
        return self

    @model_validator(mode="after")
    def _fits_its_operator(self) -> Self:
        wants_list = self.op in ("in", "not_in")
        if self.op is not None and isinstance(self.value, tuple) != wants_list:
            wanted = "a list of numbers" if wants_list else "one number"
            raise ValueError(f"`{self.op}` cannot compare with this `value`; give {wanted}")
        return self

    @model_validator(mode="after")
    def _is_not_too_deep(self) -> Self:
        if self.depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} conditions are nested; write it flatter")
        return self

    @property
    def depth(self) -> int:
        """1 for a comparison."""
        return 1 + max((part.depth for part in self._parts()), default=0)

    def readings(self) -> Iterator[Reading]:
        """Every number that it looks at."""
        if self.feature is not None:
            yield Reading("feature", self.of, self.feature)
        for name, group in self._groups():
            for at, part in enumerate(group):
                for path, side, feature in part.readings():
                    yield Reading(f"{name}.{at}.{path}", side, feature)

    def holds(self, state: Floats, actions: Floats) -> Mask:
        """`[A]` bool: where it is met, for `state` `[S]` and represented `actions` `[A, D]`."""
        if self.feature is not None:
            return self._compared(state, actions)
        ((name, group),) = self._groups()
        masks = [part.holds(state, actions) for part in group]
        together = np.logical_and if name == "all" else np.logical_or
        mask: Mask = together.reduce(masks)
        return ~mask if name == "none" else mask

    def _compared(self, state: Floats, actions: Floats) -> Mask:
        assert self.op is not None
        is_state = self.of == "state"
        number = state[self.feature] if is_state else actions[:, self.feature]
        met: Mask = _OPERATORS[self.op](number, np.array(self.value, np.float32))
        return np.full(len(actions), met) if is_state else met

    def _parts(self) -> Iterator[Predicate]:
        for _, group in self._groups():
            yield from group

    def _groups(self) -> Iterator[tuple[str, tuple[Predicate, ...]]]:
        for name, group in (("all", self.all), ("any", self.any), ("none", self.none)):
            if group is not None:
                yield name, group


_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": np.less,
    "<=": np.less_equal,
    "==": np.equal,
    "!=": np.not_equal,
    ">=": np.greater_equal,
    ">": np.greater,
    "in": np.isin,
    "not_in": lambda numbers, values: np.isin(numbers, values, invert=True),
}
