"""`nacre replay`: computes one logged decision again and compares it bit by bit.

The record holds the request as it came; the artefact store holds the version that decided; Redis holds
the configuration and the catalog revision that were in force. All four together must give the answer
that was sent.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from agent_core.errors import AgentCoreError
from service.archive.parts import find_decision
from service.decisions import box, logic
from service.decisions.records import (
    DecisionRecord,
    act_request,
    decode_box_response,
    decode_record,
    decode_response,
)
from service.decisions.repository import read_record
from service.decisions.schemas import Assignment, ReasonsDetail
from service.policies.artefacts import ArtefactStore
from service.policies.repository import PolicyRepository
from service.policies.served import Arm, Served, ServedSets, Serving
from service.policies.store import assemble, read_config
from service.repository import PolicyKeys
from service.settings import Settings


class ReplayError(Exception):
    """The decision cannot be computed again; says what is missing."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """`differences` is empty when every bit agrees."""

    decision_id: str
    model_version: str
    differences: list[str]


async def run_replay(
    settings: Settings, decision_id: str, policy: str | None, *, as_json: bool
) -> int:
    """Prints the outcome; 0 identical, 1 different, 2 impossible."""
    try:
        async with Redis.from_url(settings.redis_url, socket_timeout=5.0) as client:
            replayed = await replay(client, settings, decision_id, policy)
    except (ReplayError, AgentCoreError, RedisError, OSError) as error:
        print(f"cannot replay {decision_id}: {error}", file=sys.stderr)  # noqa: T201  # the command's output
        return 2
    if as_json:
        print(msgspec.json.encode(replayed).decode())  # noqa: T201
    elif replayed.differences:
        print(f"{decision_id} differs: " + "; ".join(replayed.differences))  # noqa: T201
    else:
        print(f"{decision_id}: identical, bit by bit ({replayed.model_version})")  # noqa: T201
    return 1 if replayed.differences else 0


async def replay(
    client: Redis, settings: Settings, decision_id: str, policy: str | None
) -> Replayed:
    """Computes a decision again.

    Raises:
        ReplayError: it is unknown, or its version, configuration or catalog is gone.
    """
    repository = PolicyRepository(client)
    keys, record = await _find(client, repository, settings, decision_id, policy)
    if record.kind != "decision":
        raise ReplayError("it is a shadow decision: somebody else took it")
    origin = _origin(record.response)
    config_body = await repository.config_of(keys, origin.config_hash)
    document = await repository.catalog(keys, record.catalog)
    if config_body is None or document is None:
        raise ReplayError("its configuration or catalog revision is no longer kept")
    artefacts, config = ArtefactStore(settings.artefacts), read_config(config_body)

    def load(label: str) -> Served:
        version = int(label.rpartition("@")[2])
        return assemble(config, artefacts.load(keys.policy, version), version, document, keys)

    return Replayed(decision_id, origin.model_version, compared(record, load))


def compared(record: DecisionRecord, load: Callable[[str], Served]) -> list[str]:
    """What is different where a decision is computed again. `load`: the version that a label names."""
    serving = _serving(_origin(record.response), load)
    is_set = isinstance(serving.live, ServedSets)
    return (_differences_of_set if is_set else _differences_of_box)(serving, record)


class _Origin(msgspec.Struct, frozen=True):
    """The part of an answer that says what made it."""

    model_version: str
    config_hash: str
    assignment: Assignment
    reasons_detail: ReasonsDetail


_origin = msgspec.json.Decoder(_Origin).decode


def _serving(origin: _Origin, load: Callable[[str], Served]) -> Serving:
    """All that might have decided then, as the answer tells it."""
    own = load(origin.model_version)
    assignment = origin.assignment
    if not assignment.arms:
        return Serving(own, (Arm("live", 1.0, own),))
    loaded = {origin.model_version: own}
    for one in assignment.arms:
        if one.model_version and one.model_version not in loaded:
            loaded[one.model_version] = load(one.model_version)
    live = next((loaded[a.model_version] for a in assignment.arms if a.arm == "live"), own)
    arms = tuple(
        Arm(one.arm, one.probability, loaded.get(one.model_version, live), bool(one.model_version))
        for one in assignment.arms
    )
    tripped = (origin.reasons_detail.fallback or "").removeprefix("tripped:")
    is_tripped = assignment.arm == "fallback"
    return Serving(live, arms, assignment.rollout_id, tripped if is_tripped else "")


def _differences_of_set(serving: Serving, record: DecisionRecord) -> list[str]:
    served = serving.live
    logged, request, name = (
        decode_response(record.response),
        act_request(record),
        record.decision_id,
    )
    detail = logged.reasons_detail
    state = served.encoding.state(request.observation, record.carry)
    available = logic.available_actions(served.encoding, request)

    def found(is_late: bool) -> list[str]:
        assigned = logic.decide(serving, request, name, state, available, is_late=is_late)
        if logged.reason == "human" and assigned.proposal is not None:
            assigned = assigned.proposal
        again = logic.answer(
            served, request, name, available, assigned, record.deadline_ms, detail.history
        )
        return differences(logged, decode_response(msgspec.json.encode(again)))

    return _in_time_or_late(found, detail)


def _differences_of_box(serving: Serving, record: DecisionRecord) -> list[str]:
    served = serving.live
    logged, request, name = (
        decode_box_response(record.response),
        act_request(record),
        record.decision_id,
    )
    detail = logged.reasons_detail
    state = served.encoding.state(request.observation, record.carry)

    def found(is_late: bool) -> list[str]:
        assigned = box.decide(serving, request, name, state, is_late=is_late)
        again = box.answer(served, request, name, assigned, record.deadline_ms, detail.history)
        return differences(logged, decode_box_response(msgspec.json.encode(again)))

    return _in_time_or_late(found, detail)


def _in_time_or_late(
    differences_if: Callable[[bool], list[str]], detail: ReasonsDetail
) -> list[str]:
    """What differs, by whether the decision was late.

    Where it was held back, or the policy tripped, the answer gives that as the reason and does not say whether it
    was late too; it is one of the two.
    """
    if detail.fallback == "deadline":
        return differences_if(True)
    in_time = differences_if(False)
    return in_time if in_time and differences_if(True) else []


async def _find(
    client: Redis,
    repository: PolicyRepository,
    settings: Settings,
    decision_id: str,
    policy: str | None,
) -> tuple[PolicyKeys, DecisionRecord]:
    """The record, from Redis while it is kept there, else from the archive."""
    for name in [policy] if policy else await repository.names():
        keys = PolicyKeys(name)
        body = await read_record(client, keys, decision_id)
        if body is None:
            body = find_decision(settings.archive / name, decision_id)
        if body is not None:
            return keys, decode_record(body)
    raise ReplayError("no policy knows it, in Redis or in the archive")


def differences(logged: msgspec.Struct, again: msgspec.Struct) -> list[str]:
    """Fields of two answers of one kind that are not exactly equal, floats included."""
    return [
        f"{name}: logged {getattr(logged, name)!r}, computed {getattr(again, name)!r}"
        for name in logged.__struct_fields__
        if getattr(logged, name) != getattr(again, name)
    ]
