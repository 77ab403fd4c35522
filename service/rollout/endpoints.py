"""Rollouts, shadows, gates and what was changed: HTTP in, HTTP out. The worker moves what moves by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Final, NamedTuple

import msgspec
from fastapi import APIRouter, Depends, Response
from starlette.concurrency import run_in_threadpool

from agent_core.errors import AgentCoreError
from agent_core.snapshot import restore_policy
from service import bodies
from service.approvals.promotions import Promotions
from service.clock import now_ms
from service.context import Service
from service.dependencies import Body, ServiceDep, require
from service.errors import InvalidError, ServiceError
from service.evaluation.repository import EvaluationRepository
from service.following.repository import FollowingRepository
from service.policies import head
from service.policies.config import PolicyConfig
from service.policies.repository import PolicyMeta
from service.policies.schemas import PolicyEvent
from service.policies.store import read_config
from service.repository import PolicyKeys
from service.responses import json_response
from service.rollout import logic, runner, shadows, views
from service.rollout.logic import Asked, Moved, Stay
from service.rollout.look import Look, Lookout
from service.rollout.moves import Mover, check_start, start
from service.rollout.schemas import (
    AbortRequest,
    EventsView,
    MoveRequest,
    RolloutView,
    ShadowsView,
    StartRequest,
)
from service.rollout.shadow_sums import ShadowState, read_state
from service.rollout.sums import RolloutSums
from service.security import Principal

router = APIRouter(tags=["rollout"])
Reader = Annotated[Principal, Depends(require("observe"))]
Admin = Annotated[Principal, Depends(require("admin"))]
_START = msgspec.json.Decoder(StartRequest).decode
_MOVE = msgspec.json.Decoder(MoveRequest).decode
_ABORT = msgspec.json.Decoder(AbortRequest).decode
_EVENT = msgspec.json.Decoder(PolicyEvent).decode
_EVENTS: Final = 1_000


class _Found(NamedTuple):
    """A policy as it stands, with what the worker keeps of its log."""

    keys: PolicyKeys
    meta: PolicyMeta
    config: PolicyConfig
    sums: RolloutSums
    shadows: ShadowState
    look: Look | None


async def _find(service: Service, policy: str, at_ms: int) -> _Found:
    keys = PolicyKeys(policy)
    meta = await service.policies.meta(keys)
    if meta is None:
        raise ServiceError("NotFound", "there is no such policy")
    _, states = await FollowingRepository(service.client).load(keys)
    sums, config = RolloutSums(states.get(runner.NAME, b"")), read_config(meta.config)
    rollout, look = head.read_rollout(meta.rollout), None
    if rollout is not None:
        lookout = Lookout(EvaluationRepository(service.client), _promotions(service))
        look = await lookout.look(keys, config, meta, rollout, sums, at_ms)
    return _Found(keys, meta, config, sums, read_state(states.get(shadows.NAME, b"")), look)


def _promotions(service: Service) -> Promotions:
    return Promotions(service.client, service.settings.artefacts)


# -- one rollout ------------------------------------------------------------------------------------


@router.get("/v1/policies/{policy}/rollout")
async def get_rollout(policy: str, service: ServiceDep, principal: Reader) -> Response:
    """How the rollout of a policy stands, and what comes next."""
    return json_response(await _view(service, policy))


async def _view(service: Service, policy: str) -> RolloutView:
    at_ms = now_ms()
    found = await _find(service, policy, at_ms)
    beside = found.shadows.views(policy)
    if found.look is None:
        return views.nothing(found.config, found.meta, beside)
    return views.view(found.config, found.meta, found.look, found.sums, beside, at_ms)


@router.post("/v1/policies/{policy}/rollout", status_code=201)
async def start_rollout(policy: str, service: ServiceDep, principal: Admin, body: Body) -> Response:
    """Sends a version on its way to all traffic."""
    asked, keys = bodies.decode(_START, body), PolicyKeys(policy)
    version, meta = _number(asked.version, policy), await service.policies.meta(keys)
    if meta is None:
        raise ServiceError("NotFound", "there is no such policy")
    config = read_config(meta.config)
    description = await service.policies.version(keys, version)
    quarantined = await service.policies.quarantined(keys)
    check_start(meta, config, description, quarantined, at=asked.at)
    await _check_snapshot(service, policy, version, config)
    await start(
        service.policies, keys, config, version,
        at=asked.at, who=principal.name, why=asked.why, at_ms=now_ms(),
    )  # fmt: skip
    await service.store.refresh()
    return json_response(await _view(service, policy), 201)


def _number(version: int | str, policy: str) -> int:
    name, _, digits = str(version).rpartition("@")
    if name in ("", policy) and digits.isascii() and digits.isdigit() and len(digits) < 19:
        return int(digits)
    detail = f"it names no version of this policy; send a number, or such as {policy}@7"
    raise InvalidError("/version", detail, field_code="not_a_version")


async def _check_snapshot(
    service: Service, policy: str, version: int, config: PolicyConfig
) -> None:
    """Nobody meets a candidate that no server can load."""
    try:
        snapshot = await run_in_threadpool(service.artefacts.load, policy, version)
        await run_in_threadpool(restore_policy, snapshot, config.agent)
    except (AgentCoreError, OSError, ValueError) as error:
        detail = f"version {version} cannot be served: {error}"
        raise ServiceError("PolicyChange", detail) from None


@router.post("/v1/policies/{policy}/rollout/advance")
async def advance_rollout(
    policy: str, service: ServiceDep, principal: Admin, body: Body
) -> Response:
    """Moves the rollout on to its next stage or step, because a person wants it."""
    asked, at_ms = bodies.decode(_MOVE, body), now_ms()
    found = await _find(service, policy, at_ms)
    look = found.look
    if look is None:
        raise _nothing()
    mover = Mover(service.policies, found.keys, found.meta, principal.name, at_ms)
    match logic.moved_on(look.rollout, look.facts, found.config.rollout, at_ms):
        case Stay(why=why):
            raise ServiceError("RolloutHeld", why)
        case Asked():
            await _ask_approval(service, found, look, mover, principal.name, asked.why)
        case Moved() as move:
            if move.to == "live" and look.rollout.approval:
                await _promotions(service).use(
                    found.keys, look.rollout.approval, who=principal.name
                )
            move, numbers = replace(move, why=asked.why), runner.numbers_of(look.judgement)
            if not await mover.move(look.rollout, move, numbers=numbers):
                raise _moved()
            runner.tell(service.announce, policy, look.rollout, move, principal.name, numbers)
    await service.store.refresh()
    return json_response(await _view(service, policy))


async def _ask_approval(
    service: Service, found: _Found, look: Look, mover: Mover, who: str, why: str
) -> None:
    rule = found.config.approval
    assert rule is not None, "only a declared approval is missing"
    item = await _promotions(service).ask(
        found.keys,
        rule,
        look.rollout.candidate,
        who=who,
        why=why,
        evidence={"gate": look.facts.gate_why, **runner.numbers_of(look.judgement)},
    )
    if not await mover.note(look.rollout, "approval", item.approval_id, why=why, rewards=0):
        raise _moved()


@router.post("/v1/policies/{policy}/rollout/abort")
async def abort_rollout(policy: str, service: ServiceDep, principal: Admin, body: Body) -> Response:
    """Ends the rollout; the live version decides for all again, on every server within two seconds."""
    asked, at_ms, keys = bodies.decode(_ABORT, body), now_ms(), PolicyKeys(policy)
    meta = await service.policies.meta(keys)
    if meta is None:
        raise ServiceError("NotFound", "there is no such policy")
    # Without a look: what it rests on may be what is broken.
    rollout = head.read_rollout(meta.rollout)
    if rollout is None:
        raise _nothing()
    mover = Mover(service.policies, keys, meta, principal.name, at_ms)
    move = logic.aborted(asked.why)
    if not await mover.move(rollout, move, quarantine=asked.quarantine):
        raise _moved()
    runner.tell(service.announce, policy, rollout, move, principal.name, {})
    await service.store.refresh()
    return json_response(await _view(service, policy))


def _nothing() -> ServiceError:
    return ServiceError("NoRollout", "start one with POST /v1/policies/{policy}/rollout")


def _moved() -> ServiceError:
    return ServiceError(
        "RolloutHeld", "somebody else moved the rollout at the same time; look again"
    )


# -- beside it --------------------------------------------------------------------------------------


@router.get("/v1/policies/{policy}/shadows")
async def get_shadows(policy: str, service: ServiceDep, principal: Reader) -> Response:
    """What candidates would have done and earned."""
    found = await _find(service, policy, now_ms())
    beside = found.shadows.views(policy)
    return json_response(ShadowsView(policy=policy, skipped=found.shadows.skipped, shadows=beside))


@router.get("/v1/policies/{policy}/events")
async def get_events(
    policy: str, service: ServiceDep, principal: Reader, count: int = 100
) -> Response:
    """Who moved the policy's head, when and why, newest first."""
    if not 1 <= count <= _EVENTS:
        raise InvalidError("/count", f"ask for 1 to {_EVENTS} events", field_code="out_of_range")
    keys = PolicyKeys(policy)
    if await service.policies.meta(keys) is None:
        raise ServiceError("NotFound", "there is no such policy")
    found = await service.policies.events(keys, count)
    return json_response(EventsView([_EVENT(one) for one in found]))


@router.get("/v1/gates/{policy}/check")
async def get_gate(policy: str, service: ServiceDep, principal: Reader) -> Response:
    """Whether a deployment tool may go on: 200 go, 403 stop, 425 not yet."""
    return await _gate(service, policy)


@router.post("/v1/gates/{policy}/check")
async def post_gate(policy: str, service: ServiceDep, principal: Reader) -> Response:
    """The same for tools that post; what they send is not read."""
    return await _gate(service, policy)


async def _gate(service: Service, policy: str) -> Response:
    found = await _find(service, policy, now_ms())
    trip = head.read_trip(found.meta.trip)
    stage = found.look.rollout.stage if found.look else "none"
    word, answer = views.answer(policy, stage, found.look, trip.signal if trip else "")
    if word == "go":
        return json_response(answer)
    raise ServiceError("GateClosed" if word == "stop" else "NotYet", answer.why)
