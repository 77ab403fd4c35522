"""From a finished decision of a policy's log to a logged step. No files, no Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from agent_core.types import ActionSet, Doubles, Floats, Mask
from service.decisions.records import decode_record
from service.evaluation.sources.joined import Finished, place_of
from service.evaluation.sources.rewards import components_of, reward_under
from service.evaluation.steps import LoggedStep
from service.joining.logic import Frame, Taken, read_taken
from service.policies.config import RewardRule
from service.policies.encoding import set_of_one
from service.replay.codec import CERTAIN_DENSITY

_SAME: Final = 1e-6
"""Probabilities of one action in two places of an answer are one number but for rounding."""


class _Ranked(msgspec.Struct, frozen=True, gc=False):
    probability: float


class _Answer(msgspec.Struct, frozen=True, gc=False):
    """The part of an answer, of any kind, that `read_taken` leaves out."""

    model_version: str = ""
    reason: str = ""
    ranking: list[_Ranked] = []


_answer: Final = msgspec.json.Decoder(_Answer).decode


class Decided(msgspec.Struct, frozen=True, eq=False):
    """What a record says. `probabilities`: of the actions in their order: our policy's, whoever took the action;
    empty for a continuous one. `model_version`: empty where the action was not ours."""

    decision_id: str
    made_ms: int
    taken: Taken
    reason: str
    model_version: str
    probabilities: list[float]


def read_decided(body: bytes) -> Decided:
    """A decision from the bytes of its record.

    Raises:
        msgspec.MsgspecError, ValueError: they cannot be read.
    """
    record = decode_record(body)
    taken, answer = read_taken(record), _answer(record.response)
    probabilities = [one.probability for one in answer.ranking]
    return Decided(
        record.decision_id,
        record.made_ms,
        taken,
        answer.reason,
        answer.model_version,
        probabilities,
    )


def left_out(decided: Decided, feature_schema: str) -> str | None:
    """Why a decision says nothing about another policy, or None if it does."""
    taken = decided.taken
    if decided.reason == "human":
        return "chosen_by_a_person"
    if taken.feature_schema != feature_schema:
        return "other_features"
    if taken.propensity <= 0:
        return "propensity_unknown"
    if taken.actions is None and taken.propensity == CERTAIN_DENSITY:
        return "not_drawn"
    return None


def step_of(
    decided: Decided, finished: Finished, frame: Frame, rule: RewardRule, *, is_reweighed: bool
) -> LoggedStep:
    """The decision with what came of it, encoded as it was when it was decided.

    `rule`: what rewards are valued by; the one of the log unless `is_reweighed`.

    Raises:
        ServiceError: it does not fit the policy's features.
        ValueError: the carry does not fit, the action is not among the actions, or see `reward_under`.
    """
    taken, joined = decided.taken, finished.joined
    assert joined.reward is not None
    state = frame.encoding.state(taken.observation, taken.carry)
    actions, action = _chosen(taken, frame)
    is_ours = taken.kind == "decision"
    known = np.array(decided.probabilities) if len(decided.probabilities) == len(actions) else None
    return LoggedStep(
        row=place_of(finished.decision),
        decision_id=decided.decision_id,
        at_ms=decided.made_ms,
        state=state,
        actions=actions,
        action=action,
        propensity=taken.propensity,
        reward=reward_under(finished, rule) if is_reweighed else joined.reward,
        cost=joined.cost,
        allowed=_allowed(state, actions, action, known if is_ours else None, taken, frame),
        behaviour=_behaviour(known, action, taken.propensity) if is_ours else None,
        components=components_of(finished.rewards, rule),
        place=taken.place,
        is_terminated=finished.is_terminated,
        model_version=decided.model_version,
        target=None if is_ours else known,
    )


def _chosen(taken: Taken, frame: Frame) -> tuple[ActionSet, int]:
    """All actions that there were, and the position of what was done."""
    if taken.actions is None:
        return set_of_one(frame.encoding.continuous(taken.value, "/action/value")), 0
    actions, _ = frame.encoding.actions(taken.actions)
    if taken.action_id not in actions.ids:
        raise ValueError(f"its action {taken.action_id!r} is not among its actions")
    return actions, actions.ids.index(taken.action_id)


def _behaviour(known: Doubles | None, action: int, propensity: float) -> Doubles | None:
    """The logged probabilities, unless they are those of one arm among others."""
    if known is None or abs(known[action] - propensity) > _SAME * propensity:
        return None
    return known


def _allowed(
    state: Floats,
    actions: ActionSet,
    action: int,
    known: Doubles | None,
    taken: Taken,
    frame: Frame,
) -> Mask | None:
    """Which actions could be taken; None if all. What had a probability was allowed, whatever is declared:
    a fallback may be, where nothing else is left."""
    if taken.actions is None:
        return None
    denied = _denied(state, actions, taken.excluded, frame)
    if known is not None:
        denied &= known == 0
    denied[action] = False
    return ~denied if denied.any() else None


def _denied(state: Floats, actions: ActionSet, excluded: Sequence[str], frame: Frame) -> Mask:
    banned = frozenset(excluded)
    denied = np.fromiter((i in banned for i in actions.ids), bool, len(actions))
    return denied if frame.safety is None else denied | ~frame.safety.allowed(state, actions)
