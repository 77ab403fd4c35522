"""Policies, versions, catalog, audit: HTTP in, HTTP out."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Response
from starlette.concurrency import run_in_threadpool

from agent_core.errors import FeatureError
from service import bodies
from service.approvals.promotions import Promotions
from service.clock import now_ms, rfc3339
from service.decisions.records import decode_record, decode_response
from service.dependencies import Body, ServiceDep, require
from service.errors import InvalidError, ServiceError
from service.learning.repository import LearningRepository
from service.policies.audit import audit
from service.policies.catalog import CatalogChange, changed
from service.policies.encoding import Encoding
from service.policies.head import read_rollout, read_trip
from service.policies.logic import parse_document, register
from service.policies.repository import PolicyMeta
from service.policies.schemas import (
    CatalogView,
    Pointed,
    PolicyEvent,
    PolicyView,
    PromoteRequest,
    Registered,
    RollbackRequest,
    VersionView,
)
from service.policies.store import read_config
from service.repository import PolicyKeys
from service.responses import json_response
from service.security import Principal

router = APIRouter(prefix="/v1/policies", tags=["policies"])
Reader = Annotated[Principal, Depends(require("observe"))]
Admin = Annotated[Principal, Depends(require("admin"))]
_PROMOTE = msgspec.json.Decoder(PromoteRequest).decode
_ROLLBACK = msgspec.json.Decoder(RollbackRequest).decode
_CATALOG = msgspec.json.Decoder(CatalogChange).decode
_ANY = msgspec.json.Decoder(dict[str, Any]).decode
AUDITED = 5_000


@router.get("")
async def list_policies(service: ServiceDep, principal: Reader) -> Response:
    """The names of the policies that the caller may use."""
    names = [name for name in await service.policies.names() if principal.may_use(name)]
    return json_response({"policies": names})


async def _meta(service: ServiceDep, policy: str) -> tuple[PolicyKeys, PolicyMeta]:
    keys = PolicyKeys(policy)
    meta = await service.policies.meta(keys)
    if meta is None:
        raise ServiceError("NotFound", "there is no such policy")
    return keys, meta


@router.get("/{policy}")
async def get_policy(policy: str, service: ServiceDep, principal: Reader) -> Response:
    """A policy with its account."""
    keys, meta = await _meta(service, policy)
    config = read_config(meta.config)
    document = await service.policies.catalog(keys, meta.catalog)
    serving = [one.label for one in service.store.all_served() if one.config.policy == policy]
    view = PolicyView(
        policy=policy,
        config=config.model_dump(mode="json"),
        config_hash=config.config_hash,
        feature_schema=config.agent.feature_schema,
        live=f"{policy}@{meta.live}" if meta.live else None,
        previous=f"{policy}@{meta.previous}" if meta.previous else None,
        serving=serving[0] if serving else None,
        is_pinned=meta.is_pinned,
        catalog_revision=meta.catalog,
        catalog_actions=len(document.actions) if document else 0,
        counts=await service.policies.counts(keys),
        rollout=read_rollout(meta.rollout),
        trip=read_trip(meta.trip),
        learner=await LearningRepository(service.client).status(keys),
    )
    return json_response(view)


@router.put("/{policy}")
async def put_policy(
    policy: str, service: ServiceDep, principal: Admin, body: Body, restart: bool = False
) -> Response:
    """Creates or changes a policy. `restart=true` accepts that a new model starts from nothing."""
    bodies.check_depth(body, service.settings.max_depth)
    config = parse_document(bodies.decode(_ANY, body), policy)
    change = await register(
        service.policies, service.artefacts, config, who=principal.name, restart=restart
    )
    await service.store.refresh()
    view = Registered(
        policy=policy,
        outcome=change.outcome,
        changed=change.sections,
        config_hash=config.config_hash,
        feature_schema=config.agent.feature_schema,
    )
    return json_response(view, 201 if change.outcome == "created" else 200)


@router.get("/{policy}/versions")
async def list_versions(policy: str, service: ServiceDep, principal: Reader) -> Response:
    """Every version that the registry knows, oldest first."""
    keys, meta = await _meta(service, policy)
    views = [
        VersionView(
            model_version=f"{policy}@{one.version}",
            is_live=one.version == meta.live,
            description=one,
        )
        for one in await service.policies.versions(keys)
    ]
    return json_response({"versions": views})


@router.post("/{policy}/versions/{version}/promote")
async def promote(
    policy: str, version: int, service: ServiceDep, principal: Admin, body: Body
) -> Response:
    """Makes a version live, on every server, by moving one pointer; where the policy declares so, only with an
    approval, which the first attempt asks for."""
    asked = bodies.decode(_PROMOTE, body or b"{}")
    await _approved(service, policy, principal, version, asked.why)
    return await _point(
        service, policy, principal, version, "promote", asked.why, pin=asked.pin, quarantine=False
    )


@router.post("/{policy}/rollback")
async def rollback(policy: str, service: ServiceDep, principal: Admin, body: Body) -> Response:
    """Back to the version before, and pinned there: the learner cannot replace it until a promote."""
    asked = bodies.decode(_ROLLBACK, body or b"{}")
    return await _point(
        service,
        policy,
        principal,
        None,
        "rollback",
        asked.why,
        pin=True,
        quarantine=asked.quarantine,
    )


async def _approved(
    service: ServiceDep, policy: str, principal: Principal, version: int, why: str
) -> None:
    """Uses the approval of a promotion up, if it needs one."""
    keys, meta = await _meta(service, policy)
    rule = read_config(meta.config).approval
    if rule is None or not rule.promotions or version == meta.live:
        return
    if await service.policies.version(keys, version) is None:
        raise ServiceError("NotFound", "there is no such version")
    promotions = Promotions(service.client, service.settings.artefacts)
    item = await promotions.ask(keys, rule, version, who=principal.name, why=why, evidence={})
    if item.state != "approved":
        detail = (
            f"approval {item.approval_id} is {item.state}; let somebody else approve it at "
            f"/v1/approvals/{policy}/{item.approval_id}/approve, and promote again"
        )
        raise ServiceError("ApprovalNeeded", detail)
    await promotions.use(keys, item.approval_id, who=principal.name)


async def _point(
    service: ServiceDep,
    policy: str,
    principal: Principal,
    version: int | None,
    what: str,
    why: str,
    *,
    pin: bool,
    quarantine: bool,
) -> Response:
    keys, _ = await _meta(service, policy)
    event = PolicyEvent(
        what=what,
        who=principal.name,
        why=why,
        at=rfc3339(now_ms()),
        detail={"version": version, "quarantine": quarantine},
    )
    reply = await service.policies.point(keys, version, pin=pin, quarantine=quarantine, event=event)
    match reply:
        case ["ok", live, before]:
            await service.store.refresh()
            pointed = Pointed(
                policy=policy, live=f"{policy}@{live}", before=f"{policy}@{before}", is_pinned=pin
            )
            return json_response(pointed)
        case ["unknown"]:
            raise ServiceError("NotFound", "there is no such version")
        case _:
            raise ServiceError("PolicyChange", "there is no version before this one")


@router.get("/{policy}/actions")
async def get_catalog(policy: str, service: ServiceDep, principal: Reader) -> Response:
    """The action catalog."""
    keys, meta = await _meta(service, policy)
    return json_response(await service.policies.catalog(keys, meta.catalog))


@router.put("/{policy}/actions")
async def put_catalog(policy: str, service: ServiceDep, principal: Admin, body: Body) -> Response:
    """Adds, updates and removes actions; every change makes a new revision."""
    bodies.check_depth(body, service.settings.max_depth)
    change = bodies.decode(_CATALOG, body)
    keys, meta = await _meta(service, policy)
    document = await service.policies.catalog(keys, meta.catalog)
    if document is None:
        raise ServiceError("NotReady", "the catalog is being changed; retry")
    after = changed(document, change)
    config = read_config(meta.config)
    try:
        await run_in_threadpool(Encoding, config.agent, after)
    except FeatureError as error:
        where = f"/put{error.pointer}"
        raise InvalidError(where, error.detail, field_code=error.code) from None
    event = PolicyEvent(
        what="catalog",
        who=principal.name,
        why="",
        at=rfc3339(now_ms()),
        detail={
            "revision": after.revision,
            "put": msgspec.to_builtins(change.put),
            "remove": change.remove,
        },
    )
    keep_ms = int((config.reward.wait_s + config.retention_s) * 1000)
    if not await service.policies.put_catalog(keys, after, event=event, keep_ms=keep_ms):
        raise ServiceError(
            "PolicyChange", "somebody else changed the catalog at the same time; retry"
        )
    await service.store.refresh()
    view = CatalogView(
        policy=policy,
        revision=after.revision,
        actions=len(after.actions),
        removed=len(after.removed),
    )
    return json_response(view)


@router.get("/{policy}/audit")
async def get_audit(
    policy: str, service: ServiceDep, principal: Reader, decisions: int = AUDITED
) -> Response:
    """Whether the logged probabilities are true, on the newest decisions."""
    if not 1 <= decisions <= 100_000:
        raise InvalidError("/decisions", "ask for 1 to 100000 decisions", field_code="out_of_range")
    keys, meta = await _meta(service, policy)
    if read_config(meta.config).agent.box is not None:
        detail = "the audit weighs probabilities of sets, and continuous actions have densities"
        raise InvalidError("/policy", detail, field_code="wrong_kind")
    bodies_ = await service.policies.recent_decisions(keys, decisions)
    responses = await run_in_threadpool(
        lambda: [decode_response(decode_record(b).response) for b in bodies_]
    )
    return json_response(await run_in_threadpool(audit, responses))
