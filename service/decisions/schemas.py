"""The wire contract of /act, /act:batch and the decision lookup.

These structs decode requests, encode answers, and yield the OpenAPI schemas: there is no second
description of the contract. In msgpack a vector may be raw little-endian float32 bytes, and the whole
action set may be one table of bytes; in JSON a vector is a list of numbers.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from service.feedback.ledger import LedgerReward

Id = Annotated[str, Meta(min_length=1, max_length=256)]
Vector = list[float] | bytes
Mode = Literal["online", "apprentice", "shadow", "logging_only"]
Reason = Literal["policy", "explore", "baseline", "fallback", "safety_override", "human"]
HistoryNote = Literal["fresh", "partial", "unavailable"]
"""What a decision knew of its episode, where that was not all that went before. `fresh`: nothing, because it
is the first step, there is no episode, or a later step was decided already. `partial`: not every step.
`unavailable`: nothing, because Redis did not answer in time."""
ArmName = Literal["live", "canary", "holdback", "fallback"]
"""Who decides for a share of the subjects: the live version, a candidate that is compared with it, nobody, or
what stands in for a policy that may not decide."""
Features = dict[str, Any]


class Strict(
    Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True, frozen=True, gc=False
):
    """Base of everything a client sends: an unknown field is refused by name."""


class Observation(Strict, frozen=True):
    """What the caller saw: exactly one of a plain vector or named features."""

    vector: Vector | None = None
    features: Features | None = None


class ActionItem(Strict, frozen=True):
    """One available action with its own features."""

    id: Id
    vector: Vector | None = None
    features: Features | None = None


class ActionTable(Strict, frozen=True):
    """A large action set as one block: row i of `vectors` belongs to `ids[i]`."""

    ids: list[Id]
    vectors: list[list[float]] | bytes


Actions = list[Id | ActionItem] | ActionTable


class EpisodeStep(Strict, frozen=True):
    """Where in an episode the decision stands; steps count from 0."""

    episode_id: Id
    step: Annotated[int, Meta(ge=0, le=1_000_000_000)]
    previous_decision_id: Id | None = None


class ActionSpace(Strict, frozen=True):
    """The limits of continuous actions, as the caller knows them; they must be the policy's."""

    type: Literal["box"]
    low: list[float]
    high: list[float]


class ActRequest(Strict, frozen=True):
    """Asks for one action. `decision_id` is the idempotency key; made by the server if absent.

    A policy that chooses from sets needs `actions`. One that makes continuous actions takes none, and may be
    told its `action_space`; its `baseline_action` is a vector.
    """

    observation: Observation
    actions: Actions | None = None
    action_space: ActionSpace | None = None
    policy: Id | None = None
    decision_id: Id | None = None
    subject: Id | None = None
    excluded_actions: list[Id] = []
    baseline_action: Id | list[float] | None = None
    episode: EpisodeStep | None = None
    defer_activation: bool = False
    mode: Mode = "online"
    explore: bool = True
    deadline_ms: Annotated[float, Meta(gt=0, le=60_000)] | None = None
    metadata: dict[str, Any] = {}


class ChosenAction(Struct, frozen=True, gc=False):
    """The answer; `index` is its position in the request's actions."""

    id: str
    index: int


class Ranked(Struct, frozen=True, gc=False):
    """One available action; `score` is null when no agent scored it."""

    id: str
    probability: float
    score: float | None


class ReasonsDetail(Struct, frozen=True, gc=False, omit_defaults=True):
    """Why the answer is what it is."""

    explored: bool
    fallback: str | None = None
    history: HistoryNote | None = None


class ArmShare(Struct, frozen=True, gc=False):
    """An arm that might have decided: its version, empty if none decides there, and its share of subjects."""

    arm: ArmName
    probability: float
    model_version: str = ""


class Assignment(Struct, frozen=True, gc=False, omit_defaults=True):
    """Which arm of a rollout decided. `arm_propensity`: of the action within that arm; null where the answer's
    propensity is. `rollout_id`, `arms`: absent where one version decides for all."""

    arm: ArmName
    arm_probability: float
    arm_propensity: float | None
    rollout_id: str = ""
    arms: list[ArmShare] = []


class ActResponse(Struct, frozen=True, kw_only=True, gc=False):
    """`propensity` is the probability of `action` under everything that really ran."""

    decision_id: str
    policy: str
    model_version: str
    config_hash: str
    feature_schema: str
    action: ChosenAction
    propensity: float
    ranking: list[Ranked]
    reason: Reason
    reasons_detail: ReasonsDetail
    assignment: Assignment
    mode: Mode
    activated: bool
    reward_deadline: str


class ContinuousAction(Struct, frozen=True, gc=False):
    """The answer of a policy that makes continuous actions, within its box."""

    value: list[float]


class BoxActResponse(Struct, frozen=True, kw_only=True, gc=False):
    """`propensity` is the density of `action` per unit of volume; null where it was not drawn."""

    decision_id: str
    policy: str
    model_version: str
    config_hash: str
    feature_schema: str
    action: ContinuousAction
    propensity: float | None
    reason: Reason
    reasons_detail: ReasonsDetail
    assignment: Assignment
    mode: Mode
    activated: bool
    reward_deadline: str


class BatchRequest(Strict, frozen=True):
    """`defaults` is merged under every request; items are independent."""

    requests: list[msgspec.Raw]
    defaults: dict[str, Any] = {}


class DecisionLife(Struct, frozen=True, kw_only=True):
    """The whole life of one decision."""

    decision_id: str
    policy: str
    kind: Literal["decision", "shadow"]
    made_at: str
    state: str
    activated: bool
    reward_deadline: str
    request: msgspec.Raw
    response: msgspec.Raw
    rewards: list[LedgerReward]
    late_rewards: list[LedgerReward]
    learned_by: list[str]
