"""What passes between the steps of one decision."""

from __future__ import annotations

from msgspec import Struct

from agent_core.types import ActionSet, Doubles
from service.decisions.schemas import Assignment, Reason
from service.policies.encoding import Rows


class Available(Struct, frozen=True, eq=False, gc=False):
    """The available actions of one request, encoded. `rows`: where they stand in the catalog; None if the request
    brought them itself."""

    actions: ActionSet
    rows: Rows | None


class Choice(Struct, frozen=True, eq=False, gc=False):
    """What is answered and why. `value` is None when no agent scored the actions."""

    index: int
    propensity: float
    probabilities: Doubles
    value: Doubles | None
    reason: Reason
    explored: bool = False
    fallback: str | None = None


class Assigned(Struct, frozen=True, eq=False, gc=False):
    """A choice, with the probabilities of the whole lottery, and the arm that made it.

    `model_version`: of the arm. `assignment`: as the answer says it. `proposal`: the same for what the policy
    would do if a person agrees, None if nobody is asked. `causes`: why somebody is.
    """

    choice: Choice
    model_version: str
    assignment: Assignment
    proposal: Assigned | None = None
    causes: tuple[str, ...] = ()
