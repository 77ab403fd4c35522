"""One logged decision under a version that did not take it. Pure."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from agent_core.agent import seed_of
from agent_core.errors import AgentCoreError
from service.decisions import logic
from service.decisions.records import DecisionRecord, act_request, decode_record
from service.decisions.schemas import ActRequest
from service.errors import InvalidError
from service.policies.served import ServedSets
from service.rollout.shadow_sums import Group, Scored


class _Action(Struct, frozen=True, gc=False):
    """The action of an answer."""

    id: str


class _Answer(Struct, frozen=True, gc=False):
    """The part of an answer that is compared; skipping the ranking halves the time."""

    action: _Action
    propensity: float
    mode: str


_answer: Final = msgspec.json.Decoder(_Answer).decode
_GROUPS: Final[dict[str, Group]] = {"online": "online", "apprentice": "apprentice"}
"""By mode. In the others a decision is only written down, and is no test of anybody."""


class Seen(Struct, frozen=True):
    """A logged decision, read once for all candidates."""

    record: DecisionRecord
    request: ActRequest
    action_id: str
    propensity: float
    group: Group


def read(body: bytes) -> Seen | None:
    """None for a decision that says nothing about candidates: of another mode, or one that cannot be read."""
    try:
        record = decode_record(body)
        answer = _answer(record.response)
        group = _GROUPS.get(answer.mode)
        if group is None or not 0 < answer.propensity <= 1:
            return None
        return Seen(record, act_request(record), answer.action.id, answer.propensity, group)
    except msgspec.MsgspecError:
        return None


def score(served: ServedSets, seen: Seen) -> Scored | None:
    """What `served` would have done, with the chance that the decision had; None where it cannot answer, as for
    actions that the newest catalog does not have any more."""
    request, name = seen.request, seen.record.decision_id
    try:
        state = served.encoding.state(request.observation, seen.record.carry)
        available = logic.available_actions(served.encoding, request)
        ids = available.actions.ids
        decision = served.agent.act(
            state,
            available.actions,
            logic.prepared(served, available),
            seed=seed_of(name, served.config.policy),
            excluded=logic.excluded_mask(ids, request.excluded_actions),
            explore=request.explore,
            episode=logic.opinion_of(served, request),
        )
        taken = ids.index(seen.action_id)
    except (InvalidError, AgentCoreError, ValueError):
        return None
    probability = decision.probabilities.item(taken)
    return Scored(decision.index == taken, probability, probability / seen.propensity)
