"""Versions: registered, promoted, refused, rolled back; and what a change of the file means."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from redis.asyncio import Redis

from agent_core.snapshot import PolicySnapshot
from service.clock import now_ms, rfc3339
from service.policies.artefacts import ArtefactStore
from service.policies.config import parse_policy
from service.policies.logic import fresh_snapshot
from service.policies.repository import PolicyRepository, VersionDescription
from service.repository import PolicyKeys
from tests.service.conftest import Put
from tests.support.policies import bandit, with_agent
from tests.support.waiting import eventually

BODY: dict[str, Any] = {"observation": {"vector": [1.0, 2.0]}, "actions": ["a", "b", "c"]}
Publish = Callable[..., Awaitable[int]]


@pytest.fixture
def publish(redis_client: Redis, tmp_path: Path) -> Publish:
    """Publishes one more version of `home`, as a learner does; `spoil` may break it first."""

    async def one_more(*, promote: bool = True, spoil: Callable[[Path], None] | None = None) -> int:
        repository, artefacts = (
            PolicyRepository(redis_client),
            ArtefactStore(tmp_path / "artefacts"),
        )
        keys, config = PolicyKeys("home"), parse_policy(bandit())
        version = await repository.next_version(keys)
        artefacts.save("home", version, fresh_snapshot(config, version, rfc3339(now_ms())))
        if spoil is not None:
            spoil(tmp_path / "artefacts" / "home" / str(version))
        description = VersionDescription(
            version=version,
            parent=version - 1,
            made_at=rfc3339(now_ms()),
            config_hash=config.config_hash,
            feature_schema=config.agent.feature_schema,
            experience=0,
            updates=0,
        )
        await repository.publish(keys, description, promote=promote)
        return version

    return one_more


async def serving(api: httpx.AsyncClient) -> str:
    found: str = (await api.post("/v1/act", json=BODY)).json()["model_version"]
    return found


def serves(api: httpx.AsyncClient, label: str) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return await serving(api) == label

    return holds


async def test_a_published_version_is_swapped_in(
    api: httpx.AsyncClient, put: Put, publish: Publish
) -> None:
    await put(bandit())

    await publish()

    await eventually(serves(api, "home@2"))
    assert await serving(api) == "home@2"


async def test_a_candidate_waits_for_its_promotion(
    api: httpx.AsyncClient, put: Put, publish: Publish
) -> None:
    await put(bandit())
    await publish(promote=False)

    before = await serving(api)
    promoted = await api.post("/v1/policies/home/versions/2/promote", json={"why": "looks good"})

    assert before == "home@1"
    assert promoted.json() == {
        "policy": "home",
        "live": "home@2",
        "before": "home@1",
        "is_pinned": False,
    }
    assert await serving(api) == "home@2"


async def test_a_rollback_holds_while_the_learner_goes_on_publishing(
    api: httpx.AsyncClient, put: Put, publish: Publish
) -> None:
    """Failure table row 30."""
    await put(bandit())
    await publish()
    await eventually(serves(api, "home@2"))

    rolled = await api.post(
        "/v1/policies/home/rollback", json={"why": "reward fell", "quarantine": True}
    )
    await publish()
    await asyncio.sleep(0.2)  # several polls: nothing may happen in them

    assert rolled.json()["live"] == "home@1"
    assert await serving(api) == "home@1"
    await api.post("/v1/policies/home/versions/3/promote")
    assert await serving(api) == "home@3"


async def test_there_is_nothing_before_the_first_version(api: httpx.AsyncClient, put: Put) -> None:
    await put(bandit())

    response = await api.post("/v1/policies/home/rollback")

    assert (response.status_code, response.json()["code"]) == (409, "PolicyChange")


async def test_an_unknown_version_cannot_be_promoted(api: httpx.AsyncClient, put: Put) -> None:
    await put(bandit())

    assert (await api.post("/v1/policies/home/versions/9/promote")).status_code == 404


def truncate(folder: Path) -> None:
    file = folder / "tensors.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def flip(folder: Path) -> None:
    file = folder / "tensors.safetensors"
    body = bytearray(file.read_bytes())
    body[-1] ^= 1
    file.write_bytes(bytes(body))


def poison(folder: Path) -> None:
    snapshot = PolicySnapshot.load(folder)
    weights = {name: torch.full_like(value, torch.nan) for name, value in snapshot.weights.items()}
    _rewrite(folder, snapshot.model_copy(update={"weights": weights}))


def other_schema(folder: Path) -> None:
    _rewrite(folder, PolicySnapshot.load(folder).model_copy(update={"feature_schema": "fs:other"}))


def remove(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def _rewrite(folder: Path, snapshot: PolicySnapshot) -> None:
    remove(folder)
    snapshot.save(folder)


@pytest.mark.parametrize("spoil", [truncate, flip, poison, other_schema, remove])
async def test_a_version_that_must_not_serve_leaves_the_old_one_and_is_reported(
    api: httpx.AsyncClient, put: Put, publish: Publish, spoil: Callable[[Path], None]
) -> None:
    """Failure table rows 21, 28 and 29."""
    await put(bandit())

    await publish(spoil=spoil)

    async def reported() -> bool:
        return "home" in (await api.get("/readyz")).json()["refused"]

    await eventually(reported)
    assert await serving(api) == "home@1"
    assert (await api.get("/readyz")).status_code == 200
    assert "nacre_versions_refused_total" in (await api.get("/metrics")).text


async def test_a_good_version_after_a_bad_one_is_taken(
    api: httpx.AsyncClient, put: Put, publish: Publish
) -> None:
    await put(bandit())
    await publish(spoil=truncate)

    await publish()

    await eventually(serves(api, "home@3"))
    assert (await api.get("/readyz")).json()["refused"] == {}


async def test_a_change_that_the_weights_survive_keeps_the_version(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(bandit())

    changed = with_agent(
        bandit(reward={"wait_s": 5}), exploration={"kind": "epsilon_greedy", "epsilon": 0.1}
    )
    response = await api.put("/v1/policies/home", json=changed)

    assert response.json()["outcome"] == "updated"
    assert response.json()["changed"] == ["agent.exploration", "reward"]
    assert await serving(api) == "home@1"


async def test_a_change_that_would_reset_the_model_is_refused_by_name(
    api: httpx.AsyncClient, put: Put
) -> None:
    """Failure table row 39: never a silent reset."""
    await put(bandit())
    changed = with_agent(bandit(), observation={"kind": "vector", "dim": 3})

    refused = await api.put("/v1/policies/home", json=changed)
    restarted = await api.put("/v1/policies/home?restart=true", json=changed)

    assert (refused.status_code, refused.json()["code"]) == (409, "PolicyChange")
    assert refused.json()["errors"][0]["pointer"] == "/agent/observation"
    assert restarted.json()["outcome"] == "restarted"


WEIGHED: dict[str, Any] = {"wait_s": 60, "components": {"click": 1.0}, "guards": ["complaints"]}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"components": {"click": 2.0}}, "components"),
        ({"components": {"click": 1.0, "complaints": -1.0}, "guards": []}, "components"),
        ({"components": {}, "guards": ["complaints", "click"]}, "components"),
        ({"aggregation": "mean"}, "aggregation"),
        ({"default": -1.0}, "default"),
    ],
)
async def test_how_rewards_become_numbers_changes_only_with_a_new_line_of_versions(
    api: httpx.AsyncClient, put: Put, redis_client: Redis, changes: dict[str, Any], field: str
) -> None:
    await put(bandit(reward=WEIGHED))
    changed = bandit(reward=WEIGHED | changes)

    refused = await api.put("/v1/policies/home", json=changed)
    before = await serving(api)
    restarted = await api.put("/v1/policies/home?restart=true", json=changed)

    assert (refused.status_code, refused.json()["code"]) == (409, "PolicyChange")
    [error] = refused.json()["errors"]
    assert error["pointer"] == f"/reward/{field}"
    assert "restart=true" in error["detail"]
    assert restarted.json()["outcome"] == "restarted"
    assert (before, await serving(api)) == ("home@1", "home@2")
    meta = await PolicyRepository(redis_client).meta(PolicyKeys("home"))
    assert meta is not None
    assert meta.lineage == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"guards": []},
        {"guards": ["complaints", "returns"]},
        {"bounds": {"click": [0, 1], "complaints": [0, 9]}},
        {"range": [-1, 1]},
        {"wait_s": 5},
    ],
)
async def test_what_is_only_watched_or_refused_changes_under_the_model(
    api: httpx.AsyncClient, put: Put, changes: dict[str, Any]
) -> None:
    await put(bandit(reward=WEIGHED))

    response = await api.put("/v1/policies/home", json=bandit(reward=WEIGHED | changes))

    assert (response.status_code, response.json()["outcome"]) == (200, "updated")
    assert await serving(api) == "home@1"


async def test_every_problem_of_a_policy_is_told_at_once(api: httpx.AsyncClient) -> None:
    document = with_agent(bandit(reward={"wait_s": 0}), exploration={"kind": "ucbb"})

    response = await api.put("/v1/policies/home", json=document)

    assert (response.status_code, response.json()["code"]) == (422, "InvalidPolicy")
    assert {e["pointer"] for e in response.json()["errors"]} >= {
        "/reward/wait_s",
        "/agent/exploration/kind",
    }


async def test_removed_catalog_ids_are_never_silently_reused(
    api: httpx.AsyncClient, put: Put
) -> None:
    """Failure table row 25."""
    await put(bandit())
    url = "/v1/policies/home/actions"
    await api.put(url, json={"put": {"a": {}, "b": {}}})
    await api.put(url, json={"remove": ["a"]})

    reused = await api.put(url, json={"put": {"a": {}}})
    revived = await api.put(url, json={"put": {"a": {}}, "revive": ["a"]})
    unknown = await api.put(url, json={"remove": ["zzz"]})

    assert (reused.status_code, reused.json()["code"]) == (409, "PolicyChange")
    assert revived.json()["revision"] == 3
    assert unknown.status_code == 422
    assert sorted((await api.get(url)).json()["actions"]) == ["a", "b"]


async def test_the_audit_endpoint_reports_on_the_newest_decisions(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(bandit())
    for _ in range(20):
        await api.post("/v1/act", json=BODY)

    audit = (await api.get("/v1/policies/home/audit")).json()

    assert audit["decisions"] == 20
    assert audit["overlap"] == 1.0


async def test_swaps_under_load_give_no_error_and_no_torn_answer(
    api: httpx.AsyncClient, put: Put, publish: Publish
) -> None:
    """Failure table row 27, in small; `make bench-serving` does it a thousand times over real sockets."""
    await put(bandit())
    versions = [await publish(promote=False) for _ in range(5)]
    done = asyncio.Event()
    seen: list[httpx.Response] = []

    async def load() -> None:
        while not done.is_set():
            seen.append(await api.post("/v1/act", json=BODY))

    async def swap() -> None:
        for turn in range(40):
            await api.post(f"/v1/policies/home/versions/{versions[turn % 5]}/promote")
        done.set()

    await asyncio.gather(load(), load(), swap())

    assert {response.status_code for response in seen} == {200}
    assert len({response.json()["model_version"] for response in seen}) > 1


async def test_a_durability_that_redis_cannot_keep_is_refused(
    api: httpx.AsyncClient, redis_client: Redis
) -> None:
    document = bandit(durability="fsync")

    refused = await api.put("/v1/policies/home", json=document)
    await redis_client.config_set("appendfsync", "always")
    try:
        accepted = await api.put("/v1/policies/home", json=document)
    finally:
        await redis_client.config_set("appendfsync", "everysec")

    assert (refused.status_code, refused.json()["code"]) == (422, "InvalidPolicy")
    assert refused.json()["errors"][0]["pointer"] == "/durability"
    assert accepted.status_code == 201
