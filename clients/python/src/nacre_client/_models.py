"""What the service answers, as frozen values.

Every `from_wire` takes what it knows and ignores the rest, so that a newer service does not break an
older client. For the same reason fields with a fixed set of words (`reason`, `state`) are plain strings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from ._errors import ProblemItem

UNFINISHED_JOB_STATES = frozenset({"queued", "pending", "running"})


@dataclass(frozen=True, slots=True)
class ChosenAction:
    """The action to take: its `id`, and its `index` among the actions that were sent.

    A continuous action is its `value`, one number for each dimension; it has no id ("") and no index (-1).
    """

    id: str = ""
    index: int = -1
    value: tuple[float, ...] = ()

    @classmethod
    def from_wire(cls, body: Mapping[str, Any]) -> ChosenAction:
        if "value" in body:
            return cls(value=tuple(body["value"]))
        return cls(body["id"], body["index"])


@dataclass(frozen=True, slots=True)
class RankedAction:
    """One available action. `probability` in [0, 1]; `score` is None when nothing scored it."""

    id: str
    probability: float
    score: float | None = None

    @classmethod
    def from_wire(cls, body: Mapping[str, Any]) -> RankedAction:
        return cls(body["id"], body["probability"], body.get("score"))


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which arm of a rollout decided, how likely that arm was, and the arm's own propensity."""

    arm: str
    arm_probability: float
    arm_propensity: float

    @classmethod
    def from_wire(cls, body: Mapping[str, Any]) -> Assignment:
        return cls(body["arm"], body["arm_probability"], _density(body["arm_propensity"]))


@dataclass(frozen=True, slots=True)
class Decision:
    """One choice.

    `propensity`: probability in (0, 1] of `action` under everything that really ran. Of a continuous action
    it is the density, which may be above 1, and is infinite where the action was not drawn. `ranking`: every
    available action with its probability; empty where actions are continuous. `reason`: policy, explore, baseline, fallback,
    safety_override or human. `reward_deadline`: rewards after it come too late to be learned from.
    `is_replayed`: the service had already made this decision and returned the stored one.
    `is_local`: the service was away and this client fell back; the service knows nothing of this id.
    """

    decision_id: str
    policy: str
    action: ChosenAction
    propensity: float
    reason: str
    model_version: str = ""
    config_hash: str = ""
    feature_schema: str = ""
    ranking: tuple[RankedAction, ...] = ()
    reasons_detail: Mapping[str, Any] = field(default_factory=dict)
    assignment: Assignment | None = None
    mode: str = ""
    activated: bool = True
    reward_deadline: datetime | None = None
    explanation: Any = None
    is_replayed: bool = False
    is_local: bool = False

    @classmethod
    def from_wire(cls, body: Mapping[str, Any], *, is_replayed: bool = False) -> Decision:
        assignment = body.get("assignment")
        return cls(
            decision_id=body["decision_id"],
            policy=body["policy"],
            action=ChosenAction.from_wire(body["action"]),
            propensity=_density(body["propensity"]),
            reason=body["reason"],
            model_version=body.get("model_version", ""),
            config_hash=body.get("config_hash", ""),
            feature_schema=body.get("feature_schema", ""),
            ranking=tuple(map(RankedAction.from_wire, body.get("ranking") or ())),
            reasons_detail=body.get("reasons_detail") or {},
            assignment=Assignment.from_wire(assignment) if assignment else None,
            mode=body.get("mode", ""),
            activated=body.get("activated", True),
            reward_deadline=_time(body.get("reward_deadline")),
            explanation=body.get("explanation"),
            is_replayed=is_replayed,
        )


@dataclass(frozen=True, slots=True)
class Held:
    """A decision that waits for a person, until `deadline`; `client.wait(held)` gets it."""

    decision_id: str
    policy: str
    approval_id: str
    deadline: datetime

    @classmethod
    def from_wire(cls, body: Mapping[str, Any]) -> Held:
        deadline = datetime.fromisoformat(body["deadline"])
        return cls(body["decision_id"], body["policy"], body["approval_id"], deadline)


@dataclass(frozen=True, slots=True)
class Approval:
    """One thing that a person is asked about.

    `kind`: decision or promotion. `state`: pending, approved, rejected, expired (nobody answered, which counts
    as no) or void (it could not be carried out any more). `is_held`: whether the caller of act waits for it.
    `decision`: what was decided in the end, if it is about a decision and there is one yet. `by`, `why`: who
    answered, and the reason. `detail`: the whole answer: request, both possible answers, causes, evidence.
    """

    approval_id: str
    policy: str
    kind: str
    state: str
    requester: str = ""
    asked_at: datetime | None = None
    deadline: datetime | None = None
    decision_id: str | None = None
    is_held: bool = False
    decision: Decision | None = None
    model_version: str | None = None
    sha256: str | None = None
    by: str | None = None
    why: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_wire(cls, body: Mapping[str, Any]) -> Approval:
        response = body.get("response")
        return cls(
            **{
                **_known(cls, body),
                "asked_at": _time(body.get("asked_at")),
                "deadline": _time(body.get("deadline")),
                "decision": Decision.from_wire(response) if response else None,
                "detail": body,
            }
        )


@dataclass(frozen=True, slots=True)
class RewardResult:
    """What became of one reward.

    `state`: joined, pending, duplicate, pending_decision, late, not_activated, superseded or rejected.
    `reward_so_far`: the decision's reward after it; None when the service cannot say yet.
    `problem`: why one of several rewards was rejected.
    """

    reward_id: str
    state: str
    reward_so_far: float | None = None
    problem: ProblemItem | None = None

    @classmethod
    def from_wire(cls, body: Mapping[str, Any]) -> RewardResult:
        problem = body.get("problem")
        return cls(
            reward_id=body.get("reward_id") or "",
            state=body["state"],
            reward_so_far=body.get("reward_so_far"),
            problem=ProblemItem.from_wire(problem, problem["status"]) if problem else None,
        )


@dataclass(frozen=True, slots=True)
class ShadowResult:
    """What the policy thinks of a choice that somebody else made.

    `action_id`: what it would have chosen. `probability_of_logged_action`: in [0, 1], the chance that it
    chooses what was really done. `agrees`: whether the two are the same. `ranking`: every action with
    the policy's probability, for estimators that need more than one of them.
    """

    decision_id: str
    model_version: str
    action_id: str
    probability_of_logged_action: float
    agrees: bool
    ranking: tuple[RankedAction, ...] = ()

    @classmethod
    def from_wire(cls, body: Mapping[str, Any]) -> ShadowResult:
        shadow = body["shadow"]
        return cls(
            decision_id=body["decision_id"],
            model_version=shadow["model_version"],
            action_id=shadow["action_id"],
            probability_of_logged_action=shadow["probability_of_logged_action"],
            agrees=shadow["agrees"],
            ranking=tuple(map(RankedAction.from_wire, body.get("ranking") or ())),
        )


@dataclass(frozen=True, slots=True)
class RewardEntry:
    """One reward as the ledger keeps it: `value` is what counts, `components` are what was sent.

    `arrived_ms`: Unix milliseconds on the service's clock.
    """

    reward_id: str
    value: float
    cost: float = 0.0
    type: str = ""
    components: Mapping[str, float] = field(default_factory=dict)
    arrived_ms: int = 0

    @classmethod
    def from_wire(cls, body: Mapping[str, Any]) -> RewardEntry:
        return cls(
            reward_id=body["reward_id"],
            value=body["value"],
            cost=body.get("cost", 0.0),
            type=body.get("type") or "",
            components=body.get("components") or {},
            arrived_ms=body.get("arrived_ms", 0),
        )


@dataclass(frozen=True, slots=True)
class DecisionLife:
    """The whole life of one decision: asked, answered, activated, rewarded, joined, learned from.

    `request`, `response`: what was sent and answered. `late_rewards`: kept, but came after the deadline.
    `learned_by`: the model versions that trained on it.
    """

    decision_id: str
    policy: str
    state: str
    kind: str = "decision"
    activated: bool = True
    made_at: datetime | None = None
    reward_deadline: datetime | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    response: Mapping[str, Any] = field(default_factory=dict)
    rewards: tuple[RewardEntry, ...] = ()
    late_rewards: tuple[RewardEntry, ...] = ()
    learned_by: tuple[str, ...] = ()

    @classmethod
    def from_wire(cls, body: Mapping[str, Any]) -> DecisionLife:
        return cls(
            decision_id=body["decision_id"],
            policy=body["policy"],
            state=body["state"],
            kind=body.get("kind", "decision"),
            activated=body.get("activated", True),
            made_at=_time(body.get("made_at")),
            reward_deadline=_time(body.get("reward_deadline")),
            request=body.get("request") or {},
            response=body.get("response") or {},
            rewards=tuple(map(RewardEntry.from_wire, body.get("rewards") or ())),
            late_rewards=tuple(map(RewardEntry.from_wire, body.get("late_rewards") or ())),
            learned_by=tuple(body.get("learned_by") or ()),
        )


@dataclass(frozen=True, slots=True)
class JobState:
    """A learning job at one moment. `detail`: the whole answer: metrics, skipped rows, candidate, verdict."""

    job_id: str
    status: str
    policy: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_finished(self) -> bool:
        return self.status not in UNFINISHED_JOB_STATES

    @classmethod
    def from_wire(cls, body: Mapping[str, Any]) -> JobState:
        return cls(body["job_id"], body["status"], body.get("policy") or "", body)


@dataclass(frozen=True, slots=True)
class PolicyInfo:
    """A policy as it stands.

    `live`, `previous`: model versions, None before there are any. `serving`: the version on the server
    that answered. `is_pinned`: whether the learner may not replace the live version by itself.
    `counts`: decisions, rewards by state, and the like.
    """

    policy: str
    config: Mapping[str, Any]
    config_hash: str = ""
    feature_schema: str = ""
    live: str | None = None
    previous: str | None = None
    serving: str | None = None
    is_pinned: bool = False
    catalog_revision: int = 0
    catalog_actions: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_wire(cls, body: Mapping[str, Any]) -> PolicyInfo:
        return cls(**_known(cls, body))


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """What `put_policy` did: `outcome` in a word, and which sections of the file `changed`."""

    policy: str
    outcome: str
    changed: tuple[str, ...] = ()
    config_hash: str = ""
    feature_schema: str = ""

    @classmethod
    def from_wire(cls, body: Mapping[str, Any]) -> PolicyChange:
        return cls(**{**_known(cls, body), "changed": tuple(body.get("changed") or ())})


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One model version. `description`: its parent, when it was made, from which data, with what result."""

    model_version: str
    is_live: bool
    description: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_wire(cls, body: Mapping[str, Any]) -> VersionInfo:
        return cls(**_known(cls, body))


@dataclass(frozen=True, slots=True)
class LiveVersion:
    """Which version decides now, and which did `before`."""

    policy: str
    live: str
    before: str
    is_pinned: bool = False

    @classmethod
    def from_wire(cls, body: Mapping[str, Any]) -> LiveVersion:
        return cls(**_known(cls, body))


@dataclass(frozen=True, slots=True)
class RolloutInfo:
    """A candidate on its way to all traffic.

    `stage`: none (no rollout is under way), candidate, shadow, canary or waiting (for a person). `share`: of the
    subjects, in [0, 1], that the candidate decides for. `evidence`: what the canary's rewards say: promote, roll
    back, continue or ask a person. `detail`: the whole answer: both arms, the gate, the next move, shadows.
    """

    policy: str
    stage: str
    live: str = ""
    candidate: str | None = None
    step: int | None = None
    share: float = 0.0
    evidence: str | None = None
    approval: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_wire(cls, body: Mapping[str, Any]) -> RolloutInfo:
        return cls(**{**_known(cls, body), "detail": body})


@dataclass(frozen=True, slots=True)
class CatalogInfo:
    """An action catalog after a change: how many actions it has, and how many ids were ever removed."""

    policy: str
    revision: int
    actions: int
    removed: int = 0

    @classmethod
    def from_wire(cls, body: Mapping[str, Any]) -> CatalogInfo:
        return cls(**_known(cls, body))


@dataclass(frozen=True, slots=True)
class Health:
    """A health answer: `is_ok` is the verdict, `detail` says what it rests on."""

    is_ok: bool
    detail: Mapping[str, Any] = field(default_factory=dict)


def _known(kind: type, body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `body` that the dataclass `kind` has. Missing ones end in a TypeError of `kind`."""
    return {one.name: body[one.name] for one in fields(kind) if one.name in body}


def _density(value: float | None) -> float:
    """JSON has no infinity: what was not drawn from a density comes as null."""
    return math.inf if value is None else value


def _time(value: str | None) -> datetime | None:
    """An RFC 3339 text as an aware datetime."""
    return datetime.fromisoformat(value) if value else None
