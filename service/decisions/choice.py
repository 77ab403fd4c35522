"""What passes between the steps of one decision."""

from __future__ import annotations

from msgspec import Struct

from agent_core.types import ActionSet, Doubles, Floats
from service.decisions.schemas import Reason


class Available(Struct, frozen=True, eq=False, gc=False):
    """The available actions of one request, encoded, and `[A, H]` their scorer's half."""

    actions: ActionSet
    prepared: Floats


class Choice(Struct, frozen=True, eq=False, gc=False):
    """What is answered and why. `value` is None when no agent scored the actions."""

    index: int
    propensity: float
    probabilities: Doubles
    value: Doubles | None
    reason: Reason
    explored: bool = False
    fallback: str | None = None
