"""The wire contract of /observe, activation and sealing."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from service.decisions.schemas import Actions, Id, Observation, Strict
from service.errors import Problem

Amount = Annotated[float, Meta(ge=-1e12, le=1e12)]
Cost = Annotated[float, Meta(ge=-1e12, le=1e12)]
Propensity = Annotated[float, Meta(gt=0, le=1e300)]
"""A probability, or the density of a continuous action, which may be above 1."""
State = Literal[
    "joined",
    "pending",
    "duplicate",
    "pending_decision",
    "late",
    "not_activated",
    "superseded",
    "rejected",
]


class Reward(Strict, frozen=True):
    """One reward of one decision: exactly one of `reward` and `components`.

    `reward_id` makes it count once; without one the decision has a single reward of that `type`.
    `final` closes the decision's reward window.
    """

    decision_id: Id
    reward: Amount | None = None
    components: dict[str, Amount] = {}
    reward_id: Id | None = None
    cost: Cost = 0.0
    type: Id | None = None
    final: bool = False
    event_time: str | None = None
    op: Literal["add", "amend", "retract"] = "add"
    policy: Id | None = None


class ActionRef(Strict, frozen=True):
    """The action that was taken: one of a set by its `id`, a continuous one by its `value`."""

    id: Id | None = None
    value: list[float] | None = None


class LoggedTransition(Strict, frozen=True):
    """One step of a sequential problem, or a decision that another system logged.

    With a `decision_id` the server trusts its own log: what is repeated here must agree with it. A
    continuous action has no `available_actions`; its `propensity` is a density, left out where it is not
    known or the action was certain.
    """

    reward: Amount
    decision_id: Id | None = None
    episode_id: Id | None = None
    step: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None
    observation: Observation | None = None
    available_actions: Actions | None = None
    action: ActionRef | None = None
    propensity: Propensity | None = None
    behavior_policy: Id | None = None
    cost: Cost = 0.0
    next_observation: Observation | None = None
    next_available_actions: Actions | None = None
    terminated: bool = False
    truncated: bool = False
    event_time: str | None = None
    policy: Id | None = None


class ObserveRequest(Strict, frozen=True):
    """Exactly one of: the fields of one reward, `rewards`, `transition`, `transitions`."""

    decision_id: Id | None = None
    reward: Amount | None = None
    components: dict[str, Amount] = {}
    reward_id: Id | None = None
    cost: Cost = 0.0
    type: Id | None = None
    final: bool = False
    event_time: str | None = None
    op: Literal["add", "amend", "retract"] = "add"
    policy: Id | None = None
    rewards: list[Reward] | None = None
    transition: LoggedTransition | None = None
    transitions: list[LoggedTransition] | None = None


class RewardResult(Struct, frozen=True, omit_defaults=True, gc=False):
    """What became of one reward. `pending`: accepted and spooled, Redis does not answer just now."""

    reward_id: str
    state: State
    reward_so_far: float | None = None
    problem: Problem | None = None


class ObserveResponse(Struct, frozen=True):
    results: list[RewardResult]


class SealRequest(Strict, frozen=True):
    """Ends an episode. When `truncated`, what was seen at the end lets the last step bootstrap."""

    status: Literal["terminated", "truncated", "abandoned"]
    next_observation: Observation | None = None
    next_available_actions: Actions | None = None


class EpisodeEnd(Struct, frozen=True, array_like=True):
    """What a seal stores for the joiner."""

    next_observation: Observation | None
    next_available_actions: Actions | None
