"""`nacre replay`: computes one logged decision again and compares it bit by bit.

The record holds the request as it came; the artefact store holds the version that decided; Redis holds
the configuration and the catalog revision that were in force. All four together must give the answer
that was sent.
"""

from __future__ import annotations

import sys
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
from service.policies.artefacts import ArtefactStore
from service.policies.repository import PolicyRepository
from service.policies.served import Served, ServedBox, ServedSets
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
    version = int(origin.model_version.rpartition("@")[2])
    snapshot = ArtefactStore(settings.artefacts).load(keys.policy, version)
    served = assemble(read_config(config_body), snapshot, version, document, keys)
    found = _differences_of_set if isinstance(served, ServedSets) else _differences_of_box
    return Replayed(decision_id, origin.model_version, found(served, record))


class _Origin(msgspec.Struct, frozen=True):
    """The part of an answer that says what made it."""

    model_version: str
    config_hash: str


_origin = msgspec.json.Decoder(_Origin).decode


def _differences_of_set(served: Served, record: DecisionRecord) -> list[str]:
    assert isinstance(served, ServedSets)
    logged, request, name = (
        decode_response(record.response),
        act_request(record),
        record.decision_id,
    )
    detail = logged.reasons_detail
    state = served.encoding.state(request.observation, record.carry)
    available = logic.available_actions(served, request)
    choose = logic.too_late if detail.fallback == "deadline" else logic.choose
    choice = choose(served, request, name, state, available)
    again = logic.answer(
        served, request, name, available, choice, record.deadline_ms, detail.history
    )
    return differences(logged, decode_response(msgspec.json.encode(again)))


def _differences_of_box(served: Served, record: DecisionRecord) -> list[str]:
    assert isinstance(served, ServedBox)
    logged, request, name = (
        decode_box_response(record.response),
        act_request(record),
        record.decision_id,
    )
    detail = logged.reasons_detail
    if detail.fallback == "deadline":
        choice = box.too_late(served, request, name)
    else:
        state = served.encoding.state(request.observation, record.carry)
        choice = box.choose(served, request, name, state)
    again = box.answer(served, request, name, choice, record.deadline_ms, detail.history)
    return differences(logged, decode_box_response(msgspec.json.encode(again)))


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
