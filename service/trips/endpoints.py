"""Tripping and recovering by hand: HTTP in, HTTP out."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Response
from msgspec.structs import replace

from service import bodies
from service.clock import now_ms, rfc3339
from service.decisions.ids import new_id
from service.dependencies import Body, ServiceDep, require
from service.errors import InvalidError, ServiceError
from service.policies.head import Trip, read_trip
from service.policies.repository import PolicyMeta
from service.policies.store import read_config
from service.repository import PolicyKeys
from service.responses import json_response
from service.security import Principal
from service.trips import runner
from service.trips.logic import new_trip, stand_in
from service.trips.schemas import TripRequest, TripView

router = APIRouter(prefix="/v1/policies", tags=["trips"])
Reader = Annotated[Principal, Depends(require("observe"))]
Admin = Annotated[Principal, Depends(require("admin"))]
_ASKED = msgspec.json.Decoder(TripRequest).decode
_PERSON = "person"


@router.get("/{policy}/trip")
async def get_trip(policy: str, service: ServiceDep, principal: Reader) -> Response:
    """Whether the policy is tripped, and by what."""
    _, meta = await _head(service, policy)
    return json_response(_view(policy, read_trip(meta.trip)))


@router.post("/{policy}/trip")
async def trip(policy: str, service: ServiceDep, principal: Admin, body: Body) -> Response:
    """Takes the policy's decisions away from it. Only a person gives them back."""
    why = _why(body)
    keys, meta = await _head(service, policy)
    if known := read_trip(meta.trip):
        raise ServiceError("PolicyChange", f"the policy is tripped already, by {known.signal}")
    rule = read_config(meta.config).trips
    previous = stand_in(meta.previous, await service.policies.quarantined(keys))
    made = new_trip(rule, previous, new_id(), _PERSON, why, now_ms())
    made = replace(made, recover_ms=0)
    if not await runner.trip(service.policies, keys, meta, made, principal.name):
        raise ServiceError("PolicyChange", "somebody else tripped it at the same time; look again")
    await service.store.refresh()
    return json_response(_view(policy, made))


@router.post("/{policy}/recover")
async def recover(policy: str, service: ServiceDep, principal: Admin, body: Body) -> Response:
    """Gives the policy its decisions back, whatever tripped it."""
    why = _why(body)
    keys, meta = await _head(service, policy)
    known = read_trip(meta.trip)
    if known is None:
        raise ServiceError("PolicyChange", "the policy is not tripped; there is nothing to recover")
    is_done = await runner.recover(
        service.policies,
        keys,
        meta,
        known,
        who=principal.name,
        how="person",
        why=why,
        now_ms=now_ms(),
    )
    if not is_done:
        raise ServiceError("PolicyChange", "somebody else changed it at the same time; look again")
    await service.store.refresh()
    return json_response(_view(policy, None))


def _why(body: bytes) -> str:
    asked = bodies.decode(_ASKED, body)
    if not asked.why.strip():
        raise InvalidError("/why", "it is empty; say why, for those who read it later")
    return asked.why


async def _head(service: ServiceDep, policy: str) -> tuple[PolicyKeys, PolicyMeta]:
    keys = PolicyKeys(policy)
    meta = await service.policies.meta(keys)
    if meta is None:
        raise ServiceError("NotFound", "there is no such policy")
    return keys, meta


def _view(policy: str, trip: Trip | None) -> TripView:
    if trip is None:
        return TripView(policy=policy, is_tripped=False)
    return TripView(
        policy=policy,
        is_tripped=True,
        trip_id=trip.trip_id,
        signal=trip.signal,
        why=trip.why,
        since=rfc3339(trip.at_ms),
        serves=f"{policy}@{trip.version}" if trip.version else "fallback",
        recovers_at=rfc3339(trip.recover_ms) if trip.recover_ms else None,
    )
