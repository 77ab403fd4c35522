"""/approvals: HTTP in, HTTP out."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Final, Literal, get_args

import msgspec
from fastapi import APIRouter, Depends, Response

from service import bodies
from service.approvals import logic
from service.approvals.promotions import Promotions
from service.approvals.repository import ApprovalRepository
from service.approvals.schemas import Approval, ApprovalList, Item, State, Verdict
from service.clock import now_ms
from service.decisions.repository import read_record
from service.dependencies import Body, ServiceDep, require
from service.errors import InvalidError, ServiceError
from service.policies.config import PolicyConfig
from service.policies.store import read_config
from service.repository import PolicyKeys
from service.responses import json_response
from service.security import Principal

router = APIRouter(prefix="/v1/approvals", tags=["approvals"])
Reader = Annotated[Principal, Depends(require("observe"))]
Approver = Annotated[Principal, Depends(require("approve"))]
_VERDICT: Final = msgspec.json.Decoder(Verdict).decode
LONGEST_WAIT_S: Final = 30.0
_LOOK_S: Final = 0.2
"""Between two looks of one who waits. A person takes longer; a subscription for each who waits would cost a
connection to Redis each."""
LISTED: Final = 200


@router.get("")
async def list_approvals(
    service: ServiceDep, principal: Reader, policy: str | None = None, state: str = "pending"
) -> Response:
    """Approvals in one state, of one policy or of all that the caller may see; at most 200 of each."""
    if state not in get_args(State):
        detail = f"it is none of {', '.join(get_args(State))}; choose one"
        raise InvalidError("/state", detail, field_code="unknown_state")
    names = [name for name in await service.policies.names() if principal.may_use(name)]
    if policy is not None and policy not in names:
        raise ServiceError("NotFound", "there is no such policy")
    repository = ApprovalRepository(service.client)
    found: list[Approval] = []
    pending = 0
    for name in names if policy is None else [policy]:
        keys = PolicyKeys(name)
        items = await repository.newest(keys, state, LISTED)  # type: ignore[arg-type]  # checked above
        found += [logic.view(name, item) for item in items]
        pending += await repository.pending(keys)
    return json_response(ApprovalList(found, pending))


@router.get("/{policy}/{approval_id}")
async def get_approval(
    policy: str, approval_id: str, service: ServiceDep, principal: Reader, wait_s: float = 0.0
) -> Response:
    """One approval; with `wait_s`, as soon as somebody has answered, or when that time is over."""
    if not 0 <= wait_s <= LONGEST_WAIT_S:
        detail = f"wait 0 to {LONGEST_WAIT_S:g} seconds, and ask again"
        raise InvalidError("/wait_s", detail, field_code="out_of_range")
    keys, until = PolicyKeys(policy), time.monotonic() + wait_s
    repository = ApprovalRepository(service.client)
    while await repository.state(keys, approval_id) == "pending":
        left_s = until - time.monotonic()
        if left_s <= 0:
            break
        await asyncio.sleep(min(_LOOK_S, left_s))
    return json_response(await _view(service, keys, await _find(service, keys, approval_id)))


@router.post("/{policy}/{approval_id}/approve")
async def approve(
    policy: str, approval_id: str, service: ServiceDep, principal: Approver, body: Body
) -> Response:
    """Says yes: a held decision is taken as proposed, a version may go live."""
    return await _answer(service, principal, policy, approval_id, "approved", body)


@router.post("/{policy}/{approval_id}/reject")
async def reject(
    policy: str, approval_id: str, service: ServiceDep, principal: Approver, body: Body
) -> Response:
    """Says no: a held decision is answered by the fallback, a version does not go live."""
    return await _answer(service, principal, policy, approval_id, "rejected", body)


async def _answer(
    service: ServiceDep,
    principal: Principal,
    policy: str,
    approval_id: str,
    verdict: Literal["approved", "rejected"],
    body: bytes,
) -> Response:
    said = bodies.decode(_VERDICT, body)
    keys = PolicyKeys(policy)
    item = await _find(service, keys, approval_id)
    # Without keys everybody is the same caller, and nobody can be told from who asked.
    if verdict == "approved" and not service.keyring.is_open:
        logic.check_not_own(item, principal.name)
    resolution = logic.resolution(
        await _config(service, keys),
        item,
        verdict,
        who=principal.name,
        why=said.why,
        at_ms=now_ms(),
        sha256=await _sha256(service, keys, item),
    )
    outcome = await ApprovalRepository(service.client).resolve(keys, item, resolution)
    after = await _find(service, keys, approval_id)
    if not _is_repeated(after, verdict, principal):
        logic.check_done(outcome)
    return json_response(await _view(service, keys, after))


def _is_repeated(after: Item, verdict: str, principal: Principal) -> bool:
    """Whether this very answer was given before: its first delivery may have got lost on the way back."""
    return (
        after.state == verdict and after.closing is not None and after.closing.who == principal.name
    )


async def _find(service: ServiceDep, keys: PolicyKeys, approval_id: str) -> Item:
    item = await ApprovalRepository(service.client).find(keys, approval_id)
    if item is None:
        raise ServiceError("NotFound", "there is no such approval")
    return item


async def _config(service: ServiceDep, keys: PolicyKeys) -> PolicyConfig:
    meta = await service.policies.meta(keys)
    if meta is None:
        raise ServiceError("NotFound", "there is no such policy")
    return read_config(meta.config)


async def _sha256(service: ServiceDep, keys: PolicyKeys, item: Item) -> str:
    """Of the snapshot that a promotion is about, as it lies there now."""
    if item.asked.kind == "decision":
        return ""
    promotions = Promotions(service.client, service.settings.artefacts)
    return await promotions.sha256(keys, item.asked.version)


async def _view(service: ServiceDep, keys: PolicyKeys, item: Item) -> Approval:
    decision_id = item.asked.decision_id
    recorded = await read_record(service.client, keys, decision_id) if decision_id else None
    return logic.view(keys.policy, item, recorded)
