"""From a stored decision to what becomes of it. No Redis, no clock.

    stored decision -> read_taken -> settle -> Parked, Closed or Settled
    Settled in an episode -> follow -> Parked, Closed, or what comes after the step
    Settled and what comes after -> transition_of

Every decision ends with exactly one outcome:

    rewarded, defaulted     learned from
    not_activated           never shown, so no default reward either
    not_learned             recorded only: mode logging_only, or a shadow that the policy does not use
    quarantined             made by a version that must not be learned from
    no_successor            a step of an episode that went on unseen
    unreadable              the record, or the catalog that its ids refer to, cannot be read
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
import numpy as np

from agent_core.interfaces import SafetyModule
from agent_core.types import ActionSet, Floats, Transition
from service.decisions.records import DecisionRecord, act_request
from service.decisions.repository import EpisodePlace
from service.decisions.schemas import Actions, Observation
from service.feedback.ledger import Ledger, total, total_cost
from service.feedback.schemas import EpisodeEnd
from service.policies.config import PolicyConfig
from service.policies.encoding import Encoding, set_of_one
from service.replay.codec import CERTAIN_DENSITY
from service.shadow.schemas import Shadow, ShadowRequest

Outcome = Literal[
    "rewarded",
    "defaulted",
    "not_activated",
    "not_learned",
    "quarantined",
    "no_successor",
    "unreadable",
]
UNKNOWN_PROPENSITY: Final = 0.0
BASELINE_ARM: Final = "baseline"
"""Of decisions in which the policy only watched: nobody drew an arm for them, and they count for none."""


class JoinedEvent(msgspec.Struct, frozen=True, array_like=True):
    """What the log keeps of a closed decision. `reward` is None where none was computed.

    `arm`: of the rollout that decided. `made_ms`: when it decided. `delay_ms`: from there to the first reward that
    counts; -1 without one. `value`: what the policy expected of the action, None where it was not asked. `took_us`:
    how long the decision took. `components`: the sums of the parts of rewards, by name.
    """

    outcome: Outcome
    reward: float | None
    cost: float
    model_version: int
    arm: str = ""
    made_ms: int = 0
    delay_ms: int = -1
    value: float | None = None
    took_us: int = 0
    components: dict[str, float] = {}


# -- what was done ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Taken:
    """One action that was taken, whoever chose it.

    `actions`: None for a continuous action, which is `value`. `propensity`: 0 when another system did not
    say it; a density for a continuous action. `model_version`: 0 when it was not ours. `may_teach`: whether
    its mode allows learning. `carry`: the history that it was chosen with, empty at the beginning. `expected`: what
    the policy expected of it. `took_us`: how long the decision took.
    """

    kind: Literal["decision", "shadow"]
    observation: Observation
    actions: Actions | None
    excluded: Sequence[str]
    action_id: str
    propensity: float
    model_version: int
    config_hash: str
    feature_schema: str
    catalog: int
    place: EpisodePlace | None
    may_teach: bool
    value: tuple[float, ...] = ()
    carry: bytes = b""
    arm: str = ""
    made_ms: int = 0
    expected: float | None = None
    took_us: int = 0


class _Assignment(msgspec.Struct, frozen=True, gc=False):
    """The arm that decided."""

    arm: str


class _Action(msgspec.Struct, frozen=True, gc=False):
    """The action of either kind of answer."""

    id: str = ""
    value: tuple[float, ...] = ()


class _Answer(msgspec.Struct, frozen=True, gc=False):
    """The part of an answer that joining needs; skipping the ranking halves the time."""

    model_version: str
    config_hash: str
    feature_schema: str
    action: _Action
    propensity: float | None
    assignment: _Assignment


class _ShadowAnswer(msgspec.Struct, frozen=True, gc=False):
    """The part of a ShadowResponse that joining needs."""

    config_hash: str
    feature_schema: str
    shadow: Shadow


_answer = msgspec.json.Decoder(_Answer).decode
_shadow_answer = msgspec.json.Decoder(_ShadowAnswer).decode
_SHADOW_REQUEST: Final = {
    "json": msgspec.json.Decoder(ShadowRequest).decode,
    "msgpack": msgspec.msgpack.Decoder(ShadowRequest).decode,
}


def read_taken(record: DecisionRecord) -> Taken:
    """What a record says.

    Raises:
        msgspec.MsgspecError: the request or the response inside it cannot be read.
        ValueError: its version has no number.
    """
    return _read_shadow(record) if record.kind == "shadow" else _read_decision(record)


def _read_decision(record: DecisionRecord) -> Taken:
    request = act_request(record)
    answer = _answer(record.response)
    step = request.episode
    return Taken(
        kind="decision",
        observation=request.observation,
        actions=request.actions,
        excluded=request.excluded_actions,
        action_id=answer.action.id,
        propensity=CERTAIN_DENSITY if answer.propensity is None else answer.propensity,
        model_version=int(answer.model_version.rpartition("@")[2]),
        config_hash=answer.config_hash,
        feature_schema=answer.feature_schema,
        catalog=record.catalog,
        place=EpisodePlace(step.episode_id, step.step) if step else None,
        may_teach=request.mode != "logging_only",
        value=answer.action.value,
        carry=record.carry,
        arm=answer.assignment.arm if request.mode == "online" else BASELINE_ARM,
        made_ms=record.made_ms,
        expected=record.value,
        took_us=record.took_us,
    )


def _read_shadow(record: DecisionRecord) -> Taken:
    request = _SHADOW_REQUEST[record.media](record.request)
    answer = _shadow_answer(record.response)
    return Taken(
        kind="shadow",
        observation=request.observation,
        actions=request.actions,
        excluded=request.excluded_actions,
        action_id=request.action_id,
        propensity=request.propensity or UNKNOWN_PROPENSITY,
        model_version=0,
        config_hash=answer.config_hash,
        feature_schema=answer.feature_schema,
        catalog=record.catalog,
        place=None,
        may_teach=True,
        arm="shadow",
        made_ms=record.made_ms,
    )


# -- whether its time has come ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parked:
    """Look again at `until_ms`, or when `next_step` of its episode is recorded."""

    until_ms: int
    next_step: int | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """The end, without a transition."""

    outcome: Outcome
    reward: float | None = None
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Settled:
    """Its reward is known, and it is learned from."""

    outcome: Outcome
    reward: float
    cost: float


def settle(
    taken: Taken,
    ledger: Ledger,
    config: PolicyConfig,
    *,
    is_activated: bool,
    deadline_ms: int,
    quarantined: frozenset[int],
    now_ms: int,
) -> Parked | Closed | Settled:
    """The reward of a decision whose window has closed: by the deadline, or by a final reward.

    Only the server's clock decides (`deadline_ms`, `now_ms`); the times that clients send do not.
    """
    is_over = now_ms >= deadline_ms
    if not (is_over or (ledger.is_final and is_activated)):
        return Parked(deadline_ms)
    if not is_activated:
        return Closed("not_activated")
    reward, cost = reward_of(ledger, config), total_cost(ledger.rewards)
    if not _teaches(taken, config):
        return Closed("not_learned", reward, cost)
    if taken.model_version in quarantined:
        return Closed("quarantined", reward, cost)
    is_rewarded = total(ledger.rewards, config.reward) is not None
    return Settled("rewarded" if is_rewarded else "defaulted", reward, cost)


def reward_of(ledger: Ledger, config: PolicyConfig) -> float:
    """One number from the rewards that count, or the policy's default if there is none.

    Values are those of `config`'s weights, not of the weights that were in force when a reward arrived: see
    `service.feedback.ledger`.
    """
    found = total(ledger.rewards, config.reward)
    return config.reward.default if found is None else found


def _teaches(taken: Taken, config: PolicyConfig) -> bool:
    """A shadow whose propensity nobody told is never learned from: a made-up one would be a lie."""
    if taken.kind == "shadow":
        return config.learning.from_shadow and taken.propensity > 0
    return taken.may_teach


def joined_event(taken: Taken, ledger: Ledger, verdict: Settled | Closed) -> JoinedEvent:
    """What the log keeps of a decision that ended with `verdict`."""
    components: Counter[str] = Counter()
    for reward in ledger.rewards:
        components.update(reward.components)
    first_ms = min((reward.arrived_ms for reward in ledger.rewards), default=None)
    return JoinedEvent(
        verdict.outcome,
        verdict.reward,
        verdict.cost,
        taken.model_version,
        taken.arm,
        taken.made_ms,
        -1 if first_ms is None else max(0, first_ms - taken.made_ms),
        taken.expected,
        taken.took_us,
        dict(components),
    )


# -- what came after ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EpisodeFacts:
    """What Redis knows about the episode of one step. `last`: its highest step, None if it is gone."""

    next_id: str | None
    last: int | None
    sealed: str | None
    end: bytes | None


@dataclass(frozen=True, slots=True)
class NextDecision:
    """The step was followed by this decision."""

    decision_id: str


@dataclass(frozen=True, slots=True)
class Terminated:
    """Nothing follows: the value of the future is 0."""


_END: Final = msgspec.msgpack.Decoder(EpisodeEnd).decode


def follow(
    step: int, facts: EpisodeFacts, *, idle_ms: int, now_ms: int
) -> Parked | Closed | NextDecision | EpisodeEnd | Terminated:
    """What follows `step` of an episode.

    Raises:
        msgspec.MsgspecError: the stored end of the episode cannot be read.
    """
    if facts.next_id is not None:
        return NextDecision(facts.next_id)
    if facts.last is not None and facts.sealed is None:
        return Parked(now_ms + idle_ms, step + 1)
    if facts.last == step and facts.sealed == "terminated":
        return Terminated()
    if facts.last == step and facts.sealed == "truncated" and facts.end:
        return _END(facts.end)
    return Closed("no_successor")


# -- the transition -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """How the decisions of one configuration and catalog revision become vectors."""

    feature_schema: str
    encoding: Encoding
    safety: SafetyModule | None


@dataclass(frozen=True, slots=True, eq=False)
class Successor:
    """What follows a step, encoded; state and actions None after a terminated one. `action`: the position
    in `actions` of what was done next; None if that is unknown, or was not eligible."""

    state: Floats | None = None
    actions: ActionSet | None = None
    action: int | None = None
    is_truncated: bool = False


NOTHING: Final = Successor()


def next_step(taken: Taken, frame: Frame) -> Successor:
    """The next decision as a successor: only actions that it could really have taken.

    Raises:
        ServiceError: it does not fit the policy's features.
        ValueError: its carry does not fit the policy's history.
    """
    state = frame.encoding.state(taken.observation, taken.carry)
    actions = _actions_of(taken, frame)
    if taken.actions is None:
        return Successor(state, actions, 0)
    eligible = _eligible(state, actions, taken.excluded, frame.safety)
    position = eligible.ids.index(taken.action_id) if taken.action_id in eligible.ids else None
    return Successor(state, eligible, position)


def after_the_end(end: EpisodeEnd, frame: Frame, carry: bytes = b"") -> Successor | None:
    """What was seen when the episode was cut off; None if that is too little to learn from.

    `carry`: `carry_after` the last step.

    Raises:
        ServiceError: it does not fit the policy's features.
        ValueError: the carry does not fit the policy's history.
    """
    if end.next_observation is None:
        return None
    if frame.encoding.box is not None:
        return Successor(frame.encoding.state(end.next_observation, carry), is_truncated=True)
    if end.next_available_actions is None:
        return None
    state = frame.encoding.state(end.next_observation, carry)
    actions, _ = frame.encoding.actions(end.next_available_actions)
    return Successor(state, _eligible(state, actions, (), frame.safety), is_truncated=True)


def carry_after(taken: Taken, frame: Frame) -> bytes:
    """The history that the step after `taken` sees; empty where the policy has none.

    Raises:
        ServiceError, ValueError: as `transition_of`.
    """
    if frame.encoding.history is None:
        return b""
    actions = _actions_of(taken, frame)
    chosen = actions.features[_position(taken, actions)]
    return frame.encoding.carry_after(taken.carry, taken.observation, chosen)


def _actions_of(taken: Taken, frame: Frame) -> ActionSet:
    """The whole set that was available; of a continuous action, the set of that one."""
    if taken.actions is None:
        return set_of_one(frame.encoding.continuous(taken.value, "/action/value"))
    actions, _ = frame.encoding.actions(taken.actions)
    return actions


def _position(taken: Taken, actions: ActionSet) -> int:
    return 0 if taken.actions is None else actions.ids.index(taken.action_id)


def _eligible(
    state: Floats, actions: ActionSet, excluded: Sequence[str], safety: SafetyModule | None
) -> ActionSet:
    allowed = np.ones(len(actions), bool) if safety is None else safety.allowed(state, actions)
    if excluded:
        banned = set(excluded)
        allowed = allowed & np.fromiter((i not in banned for i in actions.ids), bool, len(actions))
    if allowed.all():
        return actions
    rows = np.flatnonzero(allowed)
    return ActionSet(tuple(actions.ids[row] for row in rows), actions.features[rows])


def transition_of(
    decision_id: str, taken: Taken, settled: Settled, frame: Frame, successor: Successor
) -> Transition:
    """The finished step, encoded as it was when it was decided.

    Raises:
        ServiceError: the observation or an action does not fit, or an id is not in the catalog.
        ValueError: the action that was taken is not among the actions, or the carry does not fit.
    """
    actions = _actions_of(taken, frame)
    return Transition(
        decision_id=decision_id,
        state=frame.encoding.state(taken.observation, taken.carry),
        actions=actions,
        action=_position(taken, actions),
        reward=settled.reward,
        cost=settled.cost,
        next_state=successor.state,
        next_actions=successor.actions,
        terminated=successor.state is None,
        truncated=successor.is_truncated,
        propensity=taken.propensity,
        model_version=taken.model_version,
        next_action=successor.action,
        episode_id=taken.place.episode_id if taken.place else "",
        step=taken.place.step if taken.place else 0,
    )
