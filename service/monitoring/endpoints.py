"""What was watched: HTTP in, HTTP out. The worker watches; see `service.monitoring.observer`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Query, Response

from service import bodies
from service.clock import now_ms, rfc3339
from service.dependencies import Body, ServiceDep, require
from service.errors import ServiceError
from service.monitoring.repository import MonitoringRepository
from service.monitoring.schemas import AlarmsAnswer, ForgetRequest, MonitoringAnswer
from service.policies.schemas import PolicyEvent
from service.repository import PolicyKeys
from service.responses import json_response
from service.security import Principal

router = APIRouter(prefix="/v1/policies", tags=["monitoring"])
Reader = Annotated[Principal, Depends(require("observe"))]
Admin = Annotated[Principal, Depends(require("admin"))]
_FORGET = msgspec.json.Decoder(ForgetRequest).decode


@router.get("/{policy}/monitoring")
async def get_monitoring(
    policy: str,
    service: ServiceDep,
    principal: Reader,
    windows: Annotated[int, Query(ge=0, le=1_000)] = 20,
) -> Response:
    """How watching stands, with the newest windows."""
    keys = await _known(service, policy)
    repository = MonitoringRepository(service.client)
    status = await repository.view(keys)
    newest = await repository.windows(keys, windows) if windows else []
    return json_response(MonitoringAnswer(policy=policy, status=status, windows=newest))


@router.get("/{policy}/alarms")
async def get_alarms(
    policy: str,
    service: ServiceDep,
    principal: Reader,
    changes: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> Response:
    """What is alarmed now, and when that changed."""
    keys = await _known(service, policy)
    repository = MonitoringRepository(service.client)
    status = await repository.view(keys)
    active = [one for one in status.alarms if one.level] if status else []
    newest = await repository.alarms(keys, changes)
    return json_response(AlarmsAnswer(policy=policy, active=active, changes=newest))


@router.post("/{policy}/monitoring/forget", status_code=202)
async def forget_reference(
    policy: str, service: ServiceDep, principal: Admin, body: Body
) -> Response:
    """What is seen from now on is the new reference: for a change that was looked into and is to stay."""
    asked = bodies.decode(_FORGET, body or b"{}")
    keys = await _known(service, policy)
    event = PolicyEvent(what="forget", who=principal.name, why=asked.why, at=rfc3339(now_ms()))
    await MonitoringRepository(service.client).ask_to_forget(keys, event)
    return json_response({"policy": policy, "outcome": "asked"}, 202)


async def _known(service: ServiceDep, policy: str) -> PolicyKeys:
    keys = PolicyKeys(policy)
    if await service.policies.meta(keys) is None:
        raise ServiceError("NotFound", "there is no such policy")
    return keys
