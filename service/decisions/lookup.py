"""The life of one decision, and its activation: the endpoints that are not hot."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Response

from service import bodies
from service.clock import now_ms, rfc3339
from service.decisions.records import decode_record
from service.decisions.repository import StoredDecision
from service.decisions.schemas import DecisionLife
from service.dependencies import Body, ServiceDep, require
from service.errors import InvalidError, ServiceError
from service.feedback.ledger import read_ledger
from service.feedback.schemas import EpisodeEnd, SealRequest
from service.hot import SPOOLED, UNKNOWN_OWNER, confirmed
from service.learning.logic import learned_by
from service.policies.served import Served, ServedBox
from service.redis_link import UNCONFIRMED
from service.responses import json_response
from service.security import Principal

router = APIRouter(prefix="/v1", tags=["decisions"])
Observer = Annotated[Principal, Depends(require("observe"))]
_SEAL = msgspec.json.Decoder(SealRequest).decode


@router.get("/decisions/{decision_id:path}")
async def get_decision(
    decision_id: str, service: ServiceDep, principal: Observer, policy: str | None = None
) -> Response:
    """The whole life of one decision: made, activated, each reward, joined, learned by which versions."""
    for served in _candidates(service, principal, policy):
        stored = await service.decisions.find(served.keys, decision_id)
        if stored is not None:
            return json_response(await _life(service, served, stored))
    raise ServiceError("NotFound", "there is no such decision")


async def _life(service: ServiceDep, served: Served, stored: StoredDecision) -> DecisionLife:
    record = decode_record(stored.record)
    ledger = read_ledger(stored.ledger, served.config.reward)
    versions = await service.policies.versions(served.keys) if stored.replay_id else []
    name = served.config.policy
    request = _as_json(record.request) if record.media == "msgpack" else record.request
    return DecisionLife(
        decision_id=record.decision_id,
        policy=name,
        kind=record.kind,
        made_at=rfc3339(record.made_ms),
        state=stored.state,
        activated=stored.activated,
        reward_deadline=rfc3339(record.deadline_ms),
        request=msgspec.Raw(request),
        response=msgspec.Raw(record.response),
        rewards=list(ledger.rewards),
        late_rewards=list(ledger.late),
        learned_by=[f"{name}@{v}" for v in learned_by(versions, stored.replay_id)]
        if stored.replay_id
        else [],
    )


def _as_json(packed: bytes) -> bytes:
    """A msgpack request in JSON; as base64 where it holds what JSON cannot say, such as a key that is
    a list."""
    try:
        return msgspec.json.encode(msgspec.msgpack.decode(packed))
    except (TypeError, msgspec.MsgspecError):
        return msgspec.json.encode({"msgpack": packed})


@router.post("/decisions/{decision_id:path}/activate", status_code=204)
async def activate(
    decision_id: str, service: ServiceDep, principal: Observer, policy: str | None = None
) -> Response:
    """Says that a deferred decision was shown; only then does it learn."""
    candidates = _candidates(service, principal, policy)
    for served in candidates:
        event = msgspec.msgpack.encode([decision_id, now_ms()])
        reply = await confirmed(
            service.feedback.activate(served.keys, decision_id, event, now_ms())
        )
        if reply is UNCONFIRMED:
            return Response(status_code=204, headers=_spooled(candidates))
        if reply == b"closed":
            raise ServiceError(
                "Contradiction", "the reward deadline passed before the decision was activated"
            )
        if reply != b"unknown":
            return Response(status_code=204)
    raise ServiceError("NotFound", "there is no such decision")


@router.post("/episodes/{episode_id:path}/seal")
async def seal(
    episode_id: str, service: ServiceDep, principal: Observer, body: Body, policy: str | None = None
) -> Response:
    """Ends an episode: no further steps, and its last step is learned from."""
    asked = bodies.decode(_SEAL, body)
    candidates = _candidates(service, principal, policy)
    for served in candidates:
        end = _encode_end(served, asked)
        event = msgspec.msgpack.encode([episode_id, asked.status, now_ms()])
        queued = service.feedback.seal(
            served.keys, served.config, episode_id, asked.status, end, event, now_ms()
        )
        reply = await confirmed(queued)
        if reply == b"conflict":
            raise ServiceError("EpisodeSealed", "the episode was sealed with another status")
        headers = _spooled(candidates) if reply is UNCONFIRMED else None
        if reply != b"unknown":
            view = {"episode_id": episode_id, "status": asked.status}
            return json_response(view, headers=headers)
    raise ServiceError("NotFound", "there is no such episode")


def _encode_end(served: Served, asked: SealRequest) -> bytes:
    """Checks what follows the last step, so that the joiner finds nothing wrong later."""
    if asked.next_observation is None:
        return b""
    served.encoding.observation(asked.next_observation, "/next_observation")
    if asked.next_available_actions is not None:
        if isinstance(served, ServedBox):
            detail = "this policy makes continuous actions and takes no sets; leave it out"
            raise InvalidError("/next_available_actions", detail, field_code="wrong_kind")
        served.encoding.actions(asked.next_available_actions, "/next_available_actions")
    return msgspec.msgpack.encode(EpisodeEnd(asked.next_observation, asked.next_available_actions))


def _candidates(service: ServiceDep, principal: Principal, policy: str | None) -> list[Served]:
    if policy is not None:
        return [service.store.served(policy, principal)]
    return [one for one in service.store.all_served() if principal.may_use(one.config.policy)]


def _spooled(candidates: list[Served]) -> dict[str, str]:
    """The header of a write that Redis has not confirmed.

    Raises:
        ServiceError: RedisUnavailable, when it may have gone to the wrong one of several policies.
    """
    if len(candidates) > 1:
        raise ServiceError("RedisUnavailable", UNKNOWN_OWNER)
    return {SPOOLED[0].decode(): SPOOLED[1].decode()}
