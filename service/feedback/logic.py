"""What a reward means before it is written. No Redis, no HTTP."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from service.clock import parse_ms
from service.errors import FieldError, InvalidError, ServiceError
from service.feedback.ledger import Entry, encode_entry, in_order, total, weighed
from service.feedback.repository import NewReward
from service.feedback.schemas import LoggedTransition, ObserveRequest, Reward, RewardResult, State
from service.policies.config import PolicyConfig, RewardRule
from service.redis_link import UNCONFIRMED

_ENCODE: Final = msgspec.msgpack.Encoder().encode
_ONLY_REWARD: Final = "reward"

REFUSALS: Final[dict[str, tuple[str, str]]] = {
    "conflict": (
        "RewardConflict",
        "this reward_id was used with another value; send `op: amend` to correct it, or another reward_id",
    ),
    "unknown_reward": (
        "UnknownReward",
        "no reward of this id counts; send it with `op: add` first",
    ),
    "buffer_full": ("Overloaded", "too many rewards wait for their decisions; retry later"),
}


class RewardEvent(msgspec.Struct, frozen=True, array_like=True):
    """What the log keeps of one reward: enough to write the ledger again."""

    reward_id: str
    op: str
    entry: bytes
    final: bool
    received_ms: int
    event_time: str


def rewards_of(request: ObserveRequest, idempotency_key: str | None) -> list[Reward]:
    """The rewards of a request that has no transitions.

    Raises:
        InvalidError: it mixes forms, or has none.
    """
    if request.rewards is not None:
        if request.decision_id is not None or request.reward is not None or request.components:
            raise InvalidError(
                "/rewards",
                "send either `rewards` or the fields of one reward",
                field_code="one_form",
            )
        return request.rewards
    if request.decision_id is None:
        raise InvalidError(
            "/decision_id", "name the decision that is rewarded", field_code="required"
        )
    return [
        Reward(
            decision_id=request.decision_id,
            reward=request.reward,
            components=request.components,
            reward_id=request.reward_id or idempotency_key,
            cost=request.cost,
            type=request.type,
            final=request.final,
            event_time=request.event_time,
            op=request.op,
            policy=request.policy,
        )
    ]


def new_reward(rule: RewardRule, reward: Reward, now_ms: int) -> NewReward:
    """What is written for one reward.

    Raises:
        InvalidError: the value, a component or the time is wrong; OutOfRange, where it is not what the policy
            declares.
    """
    check_reward(rule, reward)
    check_time(reward.event_time, "/event_time")
    reward_id = reward.reward_id or reward.type or _ONLY_REWARD
    value = 0.0 if reward.op == "retract" else reward.reward
    entry = encode_entry(Entry(value, reward.cost, reward.type or "", reward.components))
    event = RewardEvent(reward_id, reward.op, entry, reward.final, now_ms, reward.event_time or "")
    return NewReward(reward.decision_id, reward_id, entry, reward.op, reward.final, _ENCODE(event))


def check_reward(rule: RewardRule, reward: Reward) -> None:
    """Refuses a reward that is not what the policy declares.

    Raises:
        InvalidError: it has no form, both forms, or an unknown component; OutOfRange, where a component or the
            total is outside.
    """
    if reward.op == "retract":
        return
    if (reward.reward is None) == (not reward.components):
        raise InvalidError(
            "/reward", "send exactly one of `reward` and `components`", field_code="one_form"
        )
    if reward.reward is not None:
        check_range(rule, reward.reward, "/reward")
        return
    for name, amount in reward.components.items():
        _check_component(rule, name, amount)
    if not rule.components.keys().isdisjoint(reward.components):
        check_range(rule, weighed(reward.components, rule), "/components")


def _check_component(rule: RewardRule, name: str, amount: float) -> None:
    pointer = f"/components/{name}"
    if name not in rule.names:
        known = ", ".join(sorted(rule.names)) or "none"
        detail = f"the policy declares no weight for it and no guard (declared: {known})"
        raise InvalidError(pointer, detail, field_code="unknown_component")
    if name in rule.bounds:
        _check_inside(rule.bounds[name], amount, pointer, f"`{name}`", f"reward.bounds.{name}")


def check_range(rule: RewardRule, value: float, pointer: str) -> None:
    """Refuses the total of one reward that is outside the declared range.

    Raises:
        InvalidError: OutOfRange.
    """
    if rule.range is not None:
        _check_inside(rule.range, value, pointer, "the total of one reward", "reward.range")


def _check_inside(
    interval: tuple[float, float], value: float, pointer: str, what: str, declared: str
) -> None:
    low, high = interval
    if not low <= value <= high:
        detail = (
            f"{what} must be in [{low}, {high}] and is not; correct what is measured, or declare wider "
            f"limits as `{declared}` of the policy"
        )
        raise InvalidError(pointer, detail, "OutOfRange", "out_of_range")


def check_time(moment: str | None, pointer: str) -> None:
    """Refuses what is no RFC 3339 time with a zone. It is kept, but windows go by the server's clock."""
    if moment is None:
        return
    try:
        parse_ms(moment)
    except (ValueError, OverflowError):
        detail = "send an RFC 3339 time with a zone, such as 2026-01-31T12:00:00Z"
        raise InvalidError(pointer, detail, field_code="not_a_time") from None


def result_of(config: PolicyConfig, reward_id: str, reply: Any) -> RewardResult:
    """The answer for one reward, from the reply of `reward.lua`.

    Raises:
        ServiceError: the reward was refused.
    """
    if reply is UNCONFIRMED:
        return RewardResult(reward_id, "pending")
    state = reply[0].decode()
    if state in REFUSALS:
        code, detail = REFUSALS[state]
        raise ServiceError(code, detail, (FieldError("/reward_id", state, detail),))
    return RewardResult(reward_id, _STATES[state], _so_far(config.reward, reply[1:]))


_STATES: Final[dict[str, State]] = {
    "joined": "joined",
    "duplicate": "duplicate",
    "superseded": "superseded",
    "pending_decision": "pending_decision",
    "late": "late",
    "not_activated": "not_activated",
}


def _so_far(rule: RewardRule, flat: list[bytes]) -> float | None:
    found = [("", entry, arrival) for entry, arrival in zip(flat[::2], flat[1::2], strict=True)]
    return total(in_order(found, rule), rule)


_ALWAYS: Final = ("episode_id", "step", "observation", "action", "behavior_policy")
_OF_SETS: Final = ("available_actions", "propensity")


def check_foreign_transition(transition: LoggedTransition, *, is_continuous: bool) -> None:
    """A transition without a decision of ours must bring everything itself.

    Raises:
        InvalidError: a field is missing, belongs to the other kind of action, or the transition says that it
            both ended and went on.
    """
    for field in _ALWAYS if is_continuous else (*_ALWAYS, *_OF_SETS):
        if getattr(transition, field) is None:
            detail = "without a decision_id the transition must say it"
            raise InvalidError(f"/transition/{field}", detail, field_code="required")
    _check_kind(transition, is_continuous)
    if transition.terminated and transition.next_observation is not None:
        detail = "nothing follows a terminated step; leave it out or send truncated"
        raise InvalidError("/transition/next_observation", detail, field_code="contradiction")
    check_time(transition.event_time, "/transition/event_time")


def _check_kind(transition: LoggedTransition, is_continuous: bool) -> None:
    given, missing = ("id", "value") if is_continuous else ("value", "id")
    what = "makes continuous actions" if is_continuous else "chooses from sets"
    if getattr(transition.action, given) is not None or getattr(transition.action, missing) is None:
        detail = f"this policy {what}; send `{missing}` instead of `{given}`"
        raise InvalidError("/transition/action", detail, field_code="wrong_kind")
    for field in ("available_actions", "next_available_actions"):
        if is_continuous and getattr(transition, field) is not None:
            detail = f"this policy {what} and takes no sets; leave it out"
            raise InvalidError(f"/transition/{field}", detail, field_code="wrong_kind")
    if not is_continuous and (transition.propensity or 0) > 1:
        detail = "a probability is at most 1"
        raise InvalidError("/transition/propensity", detail, field_code="too_large")


def step_identity(transition: LoggedTransition) -> str:
    """Names one step of another system's log, so that sending it twice counts once."""
    raw = f"{transition.behavior_policy}\0{transition.episode_id}\0{transition.step}"
    return hashlib.blake2b(raw.encode(), digest_size=16).hexdigest()
