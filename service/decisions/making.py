"""An answer, and everything that is stored with it."""

from __future__ import annotations

import time

import msgspec
from msgspec import structs

from agent_core.types import Floats
from service.approvals.logic import about_decision
from service.approvals.schemas import NewApproval
from service.decisions import box, logic
from service.decisions.choice import Assigned, Available
from service.decisions.past import Past, kept_after
from service.decisions.records import DecisionRecord, encode_record
from service.decisions.repository import EpisodePlace, NewDecision
from service.decisions.schemas import ActRequest, Reason
from service.policies.served import Served, ServedSets, Serving

_ENCODE = msgspec.json.Encoder().encode


class Made(msgspec.Struct, frozen=True, eq=False, gc=False):
    """An answer. `taken`: the action as the policy sees it; None where nobody will remember it. `value`: what
    the policy expects of it; None where it was not asked. `proposal`: the answer if a person agrees; None if
    nobody is asked. `causes`: why somebody is."""

    response: bytes
    reason: Reason
    fallback: str | None
    taken: Floats | None
    value: float | None = None
    proposal: Made | None = None
    causes: tuple[str, ...] = ()


def answered(
    serving: Serving,
    request: ActRequest,
    decision_id: str,
    past: Past,
    deadline: float,
    due_ms: int,
) -> Made:
    """Decides.

    Raises: as `logic.decide` or `box.decide`.
    """
    make = _from_set if isinstance(serving.live, ServedSets) else _from_box
    return make(serving, request, decision_id, past, deadline, due_ms)


def stored(
    served: Served,
    request: ActRequest,
    past: Past,
    digest: bytes,
    record: DecisionRecord,
    taken: Floats | None,
) -> NewDecision:
    """What Redis is to keep. `digest`: of the body, where the caller named the decision. `taken`: as in `Made`."""
    episode = request.episode
    return NewDecision(
        record.decision_id,
        digest,
        encode_record(record),
        "decision",
        record.deadline_ms,
        not request.defer_activation,
        record.made_ms,
        EpisodePlace(episode.episode_id, episode.step) if episode else None,
        _kept(served, request, past, taken) if episode else b"",
    )


def question(
    served: Served,
    request: ActRequest,
    past: Past,
    made: Made,
    otherwise: NewDecision,
    record: DecisionRecord,
    requester: str,
) -> NewApproval:
    """What a person is asked. `otherwise`, `record`: of what is done without one."""
    rule, proposal = served.config.approval, made.proposal
    assert rule is not None, "a proposal comes from a rule"
    assert proposal is not None, "nobody is asked about nothing"
    agreed = structs.replace(record, response=proposal.response, value=proposal.value)
    proposed = stored(served, request, past, otherwise.digest, agreed, proposal.taken)
    return about_decision(
        rule,
        proposed,
        otherwise,
        requester=requester,
        causes=made.causes,
        at_ms=otherwise.made_ms,
    )


def _from_set(
    serving: Serving,
    request: ActRequest,
    decision_id: str,
    past: Past,
    deadline: float,
    due_ms: int,
) -> Made:
    encoding = serving.live.encoding
    if encoding.history is None:
        state = encoding.observation(request.observation)
    else:
        state = encoding.state(request.observation, past.carry)
    available = logic.available_actions(encoding, request)
    is_late = time.perf_counter() > deadline
    assigned = logic.decide(serving, request, decision_id, state, available, is_late=is_late)
    return _made_of_set(serving, request, decision_id, available, assigned, due_ms, past)


def _made_of_set(
    serving: Serving,
    request: ActRequest,
    decision_id: str,
    available: Available,
    assigned: Assigned,
    due_ms: int,
    past: Past,
) -> Made:
    response = logic.answer(
        serving.live, request, decision_id, available, assigned, due_ms, past.note
    )
    choice, taken, proposal = assigned.choice, None, None
    if serving.live.encoding.history is not None:
        taken = available.actions.features[choice.index]
    if assigned.proposal is not None:
        proposal = _made_of_set(
            serving, request, decision_id, available, assigned.proposal, due_ms, past
        )
    value = None if choice.value is None else choice.value.item(choice.index)
    return Made(
        _ENCODE(response), choice.reason, choice.fallback, taken, value, proposal, assigned.causes
    )


def _from_box(
    serving: Serving,
    request: ActRequest,
    decision_id: str,
    past: Past,
    deadline: float,
    due_ms: int,
) -> Made:
    state = serving.live.encoding.state(request.observation, past.carry)
    is_late = time.perf_counter() > deadline
    assigned = box.decide(serving, request, decision_id, state, is_late=is_late)
    response = box.answer(serving.live, request, decision_id, assigned, due_ms, past.note)
    choice = assigned.choice
    return Made(_ENCODE(response), choice.reason, choice.fallback, choice.action)


def _kept(served: Served, request: ActRequest, past: Past, taken: Floats | None) -> bytes:
    """What the episode is to remember after this decision; empty without a history or an episode."""
    encoding, place = served.encoding, request.episode
    if encoding.history is None or place is None or taken is None:
        return b""
    carry = encoding.carry_after(past.carry, request.observation, taken)
    return kept_after(past, place.step, served.feature_schema, carry)
