"""What a caller may hand over: observations, actions, and the options of each call.

The options are typed dictionaries, so that the blocking and the asyncio client share one definition,
and so that the items of a batch are plain dictionaries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, Required, TypeAlias, TypedDict


class SupportsToList(Protocol):
    """A numpy array, a torch tensor, a pandas series: anything that can list its numbers."""

    def tolist(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Action:
    """One available action with its description: a vector of floats, or nested features."""

    id: str
    vector: Sequence[float] | SupportsToList | None = None
    features: Mapping[str, Any] | None = None


Observation: TypeAlias = Mapping[str, Any] | Sequence[float] | SupportsToList
Actions: TypeAlias = Sequence[str] | Sequence[Action] | Sequence[Mapping[str, Any]] | SupportsToList
Fallback: TypeAlias = Literal["raise", "baseline"]
Mode: TypeAlias = Literal["online", "apprentice", "shadow", "logging_only"]
RewardOp: TypeAlias = Literal["add", "amend", "retract"]
EndOfEpisode: TypeAlias = Literal["terminated", "truncated", "abandoned"]
Promotion: TypeAlias = Literal["none", "live", "gate", "canary"]
RolloutStart: TypeAlias = Literal["gate", "canary"]


class StepOptions(TypedDict, total=False):
    """What may be said about one decision. None is the same as leaving it out.

    `decision_id`: at most 256 characters, the idempotency key; made here when left out.
    `subject`: the person or thing decided for; the same subject stays in the same rollout arm.
    `excluded_actions`: ids that must not be chosen now. `baseline_action`: id of the safe choice, or the
    safe vector where actions are continuous. `action_space`: the box that is expected of a policy with
    continuous actions, `{"type": "box", "low": [...], "high": [...]}`; another one is refused.
    `defer_activation`: True when the choice may never be shown; call `activate` once it is.
    `mode`: may only lower the privilege of the policy. `explore`: False takes the best action.
    `deadline_ms`: bounds the whole call, retries included. `metadata`: kept in the log, never a feature.
    """

    decision_id: str | None
    subject: str | None
    excluded_actions: Sequence[str] | None
    baseline_action: str | Sequence[float] | SupportsToList | None
    action_space: Mapping[str, Any] | None
    defer_activation: bool | None
    mode: Mode | None
    explore: bool | None
    deadline_ms: float | None
    metadata: Mapping[str, Any] | None


class ActOptions(StepOptions, total=False):
    """`policy`: which policy decides. `episode`: `{"episode_id", "step", "previous_decision_id"}`."""

    policy: str | None
    episode: Mapping[str, Any] | None


class ActDefaults(ActOptions, total=False):
    """What every item of a batch shares unless it says otherwise."""

    actions: Actions | None


class ActRequest(ActDefaults, total=False):
    """One item of a batch."""

    observation: Required[Observation]


class RewardDetails(TypedDict, total=False):
    """What may be said about one reward. None is the same as leaving it out.

    `reward_id`: the same id counts once; made here when left out. `cost`: charged against the safety
    budget. `type`: a label such as "click". `event_time`: when it happened. `op`: "amend" and "retract"
    correct an earlier reward of the same id. `components`: parts that the policy weighs, {"click": 1}.
    """

    reward_id: str | None
    cost: float | None
    type: str | None
    event_time: datetime | str | None
    op: RewardOp | None
    components: Mapping[str, float] | None


class RewardOptions(RewardDetails, total=False):
    """`final`: no further reward will come for this decision. `policy`: whose decision it was."""

    final: bool | None
    policy: str | None


class RewardRequest(RewardOptions, total=False):
    """One item of `observe_many`."""

    decision_id: Required[str]
    reward: float | None


class TransitionFields(TypedDict, total=False):
    """A whole step that somebody already lived through, for sequential learning from logged data.

    With `decision_id` the service trusts its own log and answers 409 to a contradiction. Without it,
    `propensity` in (0, 1] is the probability of `action` under `behavior_policy`.
    `terminated` stops bootstrapping, `truncated` does not. `action`: an id, or a vector where actions are
    continuous; then there are no available actions, and `propensity` is a density, if it is known.
    """

    decision_id: str | None
    policy: str | None
    episode_id: str | None
    step: int | None
    observation: Observation | None
    available_actions: Actions | None
    action: str | Sequence[float] | SupportsToList | None
    propensity: float | None
    reward: float | None
    cost: float | None
    next_observation: Observation | None
    next_available_actions: Actions | None
    terminated: bool | None
    truncated: bool | None
    event_time: datetime | str | None
    behavior_policy: str | None
