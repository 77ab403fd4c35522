"""What the head of a policy says besides its live version: who else decides, and whether it may."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from service.decisions.replay import replay
from service.policies import head
from service.policies.artefacts import ArtefactStore
from service.policies.config import parse_policy
from service.policies.head import Rollout, Trip
from service.policies.repository import PolicyMeta, PolicyRepository, VersionDescription
from service.repository import PolicyKeys
from tests.service.conftest import Put
from tests.support.api import settings_for
from tests.support.served import neural, snapshot_of
from tests.support.waiting import eventually

_KEYS = PolicyKeys("home")
_EVENT = {"what": "test"}
Publish = Callable[..., Awaitable[str]]


def _rollout(candidate: int = 2, share: float = 0.5) -> Rollout:
    return Rollout(
        rollout_id="r1", candidate=candidate, stage="canary", started_ms=0, since_ms=0, share=share
    )


def _trip(version: int = 0) -> Trip:
    return Trip(trip_id="t1", signal="reward", why="it fell", at_ms=0, version=version)


@pytest.fixture
def repository(redis_client: Redis) -> PolicyRepository:
    return PolicyRepository(redis_client)


@pytest.fixture
def publish(repository: PolicyRepository, tmp_path: Path) -> Publish:
    """Publishes one more version of `home`; returns the outcome."""

    async def one_more(*, promote: bool) -> str:
        config = parse_policy(neural())
        version = await repository.next_version(_KEYS)
        ArtefactStore(tmp_path / "artefacts").save("home", version, snapshot_of(config, version))
        description = VersionDescription(
            version=version,
            parent=version - 1,
            made_at="2026-01-01T00:00:00Z",
            config_hash=config.config_hash,
            feature_schema=config.agent.feature_schema,
            experience=0,
            updates=0,
        )
        outcome, _ = await repository.publish(_KEYS, description, promote=promote)
        return outcome

    return one_more


async def _change(
    repository: PolicyRepository, field: head.Field, after: Rollout | Trip, **more: Any
) -> str:
    return await repository.change_head(_KEYS, field, b"", head.encode(after), event=_EVENT, **more)


async def _meta(repository: PolicyRepository) -> PolicyMeta:
    meta = await repository.meta(_KEYS)
    assert meta is not None
    return meta


async def _act(api: httpx.AsyncClient, subject: str = "ada") -> dict[str, Any]:
    body = {
        "observation": {"vector": [1.0, 2.0]},
        "actions": ["a", "b", "c"],
        "subject": subject,
        "baseline_action": "b",
    }
    answer = await api.post("/v1/act", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _arm(api: httpx.AsyncClient) -> str:
    found: str = (await _act(api))["assignment"]["arm"]
    return found


async def test_a_candidate_in_the_head_decides_for_its_share(
    api: httpx.AsyncClient, put: Put, publish: Publish, repository: PolicyRepository
) -> None:
    await put(neural())
    await publish(promote=False)

    assert await _change(repository, "rollout", _rollout()) == "changed"
    await eventually(lambda: _has_arms(api))

    answers = [await _act(api, f"user-{n}") for n in range(100)]
    deciding = Counter((one["assignment"]["arm"], one["model_version"]) for one in answers)
    assert set(deciding) == {("live", "home@1"), ("canary", "home@2")}
    assert deciding["canary", "home@2"] == pytest.approx(50, abs=20)


async def _has_arms(api: httpx.AsyncClient) -> bool:
    return len((await _act(api))["assignment"].get("arms", ())) == 2


async def test_a_decision_of_two_arms_is_computed_again_bit_by_bit(
    api: httpx.AsyncClient,
    put: Put,
    publish: Publish,
    repository: PolicyRepository,
    redis_url: str,
    tmp_path: Path,
) -> None:
    await put(neural(rollout={"holdback": {"share": 0.3}}))
    await publish(promote=False)
    await _change(repository, "rollout", _rollout(share=0.5))
    await eventually(lambda: _has_three(api))
    answers = [await _act(api, f"user-{n}") for n in range(20)]

    settings = settings_for(redis_url, tmp_path)
    async with Redis.from_url(redis_url) as client:
        found = [await replay(client, settings, one["decision_id"], "home") for one in answers]

    assert {one["assignment"]["arm"] for one in answers} == {"live", "canary", "holdback"}
    assert [one.differences for one in found] == [[]] * 20


async def _has_three(api: httpx.AsyncClient) -> bool:
    return len((await _act(api))["assignment"].get("arms", ())) == 3


async def test_a_trip_turns_every_decision_to_the_fallback_and_replays(
    api: httpx.AsyncClient,
    put: Put,
    repository: PolicyRepository,
    redis_url: str,
    tmp_path: Path,
) -> None:
    await put(neural())

    await _change(repository, "trip", _trip())
    await eventually(lambda: _is_arm(api, "fallback"))

    answer = await _act(api)
    assert (answer["action"]["id"], answer["reason"]) == ("b", "fallback")
    assert answer["reasons_detail"]["fallback"] == "tripped:reward"
    async with Redis.from_url(redis_url) as client:
        settings = settings_for(redis_url, tmp_path)
        found = await replay(client, settings, answer["decision_id"], "home")
    assert found.differences == []


async def _is_arm(api: httpx.AsyncClient, arm: str) -> bool:
    return await _arm(api) == arm


async def test_the_version_before_stands_in_for_a_tripped_one(
    api: httpx.AsyncClient, put: Put, publish: Publish, repository: PolicyRepository
) -> None:
    await put(neural())
    await publish(promote=True)

    await _change(repository, "trip", _trip(version=1))
    await eventually(lambda: _is_arm(api, "fallback"))

    assert (await _act(api))["model_version"] == "home@1"


async def test_a_trip_holds_where_the_live_version_cannot_be_loaded(
    api: httpx.AsyncClient,
    put: Put,
    publish: Publish,
    repository: PolicyRepository,
    tmp_path: Path,
) -> None:
    await put(neural())
    await _act(api)
    await publish(promote=False)
    shutil.rmtree(tmp_path / "artefacts" / "home" / "2")

    await _change(repository, "trip", _trip(), live=2)

    await eventually(lambda: _is_arm(api, "fallback"))
    assert "version 2" in (await api.get("/readyz")).json()["refused"]["home"]


async def test_a_candidate_that_cannot_be_loaded_is_told_and_has_no_share(
    api: httpx.AsyncClient,
    put: Put,
    publish: Publish,
    repository: PolicyRepository,
    tmp_path: Path,
) -> None:
    await put(neural())
    await publish(promote=False)
    (tmp_path / "artefacts" / "home" / "2" / "tensors.safetensors").write_bytes(b"torn")

    await _change(repository, "rollout", _rollout())

    await eventually(lambda: _is_refused(api))
    assert (await _act(api))["assignment"]["arm_probability"] == 1.0


async def _is_refused(api: httpx.AsyncClient) -> bool:
    return "home" in (await api.get("/readyz")).json()["refused"]


async def test_a_policy_recovers_though_the_files_of_its_version_are_gone(
    api: httpx.AsyncClient,
    put: Put,
    publish: Publish,
    repository: PolicyRepository,
    tmp_path: Path,
) -> None:
    await put(neural())
    await publish(promote=True)
    await eventually(lambda: _is_version(api, "home@2"))
    await _change(repository, "trip", _trip(version=1))
    await eventually(lambda: _is_arm(api, "fallback"))
    shutil.rmtree(tmp_path / "artefacts" / "home" / "2")

    await repository.change_head(_KEYS, "trip", head.encode(_trip(version=1)), b"", event=_EVENT)
    await eventually(lambda: _is_arm(api, "live"))

    answer = await _act(api)
    assert answer["model_version"] == "home@2"
    assert answer["reason"] in ("policy", "explore")


async def _is_version(api: httpx.AsyncClient, label: str) -> bool:
    found: bool = (await _act(api))["model_version"] == label
    return found


async def test_a_head_that_cannot_be_read_is_told_and_stops_no_other_policy(
    api: httpx.AsyncClient, put: Put, redis_client: Redis, repository: PolicyRepository
) -> None:
    await put(neural())
    await redis_client.hset(_KEYS.meta, "rollout", b'{"stage": "from a later Nacre"}')
    await repository.hint("home")
    await eventually(lambda: _is_refused(api))

    await put(neural("other"))

    body = {"observation": {"vector": [1.0, 2.0]}, "actions": ["a", "b", "c"]}
    answers = [await api.post("/v1/act", json=body | {"policy": one}) for one in ("home", "other")]
    assert [one.json()["model_version"] for one in answers] == ["home@1", "other@1"]


async def test_only_one_of_two_writers_changes_the_head(
    put: Put, publish: Publish, repository: PolicyRepository
) -> None:
    await put(neural())
    await publish(promote=False)

    replies = [await _change(repository, "rollout", _rollout(share=share)) for share in (0.1, 0.2)]

    assert replies == ["changed", "moved"]
    found = head.read_rollout((await _meta(repository)).rollout)
    assert found is not None
    assert found.share == 0.1
    assert len(await repository.events(_KEYS, 10)) == 1


async def test_a_candidate_goes_live_in_the_moment_its_rollout_ends(
    put: Put, publish: Publish, repository: PolicyRepository
) -> None:
    await put(neural())
    await publish(promote=False)
    await _change(repository, "rollout", _rollout())
    before = head.encode(_rollout())

    reply = await repository.change_head(_KEYS, "rollout", before, b"", event=_EVENT, live=2)

    meta = await _meta(repository)
    assert (reply, meta.live, meta.previous, meta.rollout) == ("changed", 2, 1, b"")
    unknown = await repository.change_head(_KEYS, "rollout", b"", b"", event=_EVENT, live=99)
    assert unknown == "unknown"


@pytest.mark.parametrize(("field", "state"), [("rollout", _rollout()), ("trip", _trip())])
async def test_nothing_goes_live_by_itself_while_something_is_under_way(
    put: Put,
    publish: Publish,
    repository: PolicyRepository,
    field: head.Field,
    state: Rollout | Trip,
) -> None:
    await put(neural())
    await publish(promote=False)
    await _change(repository, field, state)

    assert await publish(promote=True) == "candidate"
    assert (await _meta(repository)).live == 1


async def test_a_rollback_by_hand_ends_the_rollout(
    api: httpx.AsyncClient, put: Put, publish: Publish, repository: PolicyRepository
) -> None:
    await put(neural())
    await publish(promote=True)
    await publish(promote=False)
    await _change(repository, "rollout", _rollout(candidate=3))

    await api.post("/v1/policies/home/rollback", json={"why": "enough"})

    meta = await _meta(repository)
    assert (meta.rollout, meta.live) == (b"", 1)


async def test_a_policy_that_is_started_anew_has_neither(
    api: httpx.AsyncClient, put: Put, publish: Publish, repository: PolicyRepository
) -> None:
    await put(neural())
    await publish(promote=False)
    await _change(repository, "rollout", _rollout())
    await _change(repository, "trip", _trip())
    other = neural()
    other["agent"]["policy_learner"]["hidden"] = [4]

    answer = await api.put("/v1/policies/home?restart=true", json=other)

    meta = await _meta(repository)
    assert answer.json()["outcome"] == "restarted"
    assert (meta.rollout, meta.trip) == (b"", b"")


def test_versions_that_may_decide_are_kept() -> None:
    meta = PolicyMeta(
        b"", 5, 4, False, 0, 0, head.encode(_rollout(candidate=7)), head.encode(_trip(version=3))
    )

    assert meta.pointed() == {3, 4, 5, 7}
