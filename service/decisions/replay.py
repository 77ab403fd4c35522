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
from service.decisions import logic
from service.decisions.records import DecisionRecord, act_request, decode_record, decode_response
from service.decisions.repository import read_record
from service.decisions.schemas import ActResponse
from service.policies.artefacts import ArtefactStore
from service.policies.repository import PolicyRepository
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
    logged = decode_response(record.response)
    config_body = await repository.config_of(keys, logged.config_hash)
    document = await repository.catalog(keys, record.catalog)
    if config_body is None or document is None:
        raise ReplayError("its configuration or catalog revision is no longer kept")
    version = int(logged.model_version.rpartition("@")[2])
    snapshot = ArtefactStore(settings.artefacts).load(keys.policy, version)
    served = assemble(read_config(config_body), snapshot, version, document, keys)
    request = act_request(record)
    available = logic.available_actions(served, request)
    state = served.encoding.observation(request.observation)
    if logged.reasons_detail.fallback == "deadline":
        choice = logic.too_late(served, request, decision_id, state, available)
    else:
        choice = logic.choose(served, request, decision_id, state, available)
    again = logic.answer(served, request, decision_id, available, choice, record.deadline_ms)
    sent = decode_response(msgspec.json.encode(again))
    return Replayed(decision_id, logged.model_version, differences(logged, sent))


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


def differences(logged: ActResponse, again: ActResponse) -> list[str]:
    """Fields that are not exactly equal, floats included."""
    return [
        f"{name}: logged {getattr(logged, name)!r}, computed {getattr(again, name)!r}"
        for name in ActResponse.__struct_fields__
        if getattr(logged, name) != getattr(again, name)
    ]
