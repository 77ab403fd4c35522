"""POST /v1/learn and its jobs over the whole application and a real Redis."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.conftest import Put
from tests.support.api import running_api, settings_for
from tests.support.policies import bandit, sequential
from tests.support.training import Studio, open_studio
from tests.support.waiting import eventually


async def learn(api: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await api.post("/v1/learn", json=body)


async def test_a_job_is_queued_and_can_be_found(api: httpx.AsyncClient, put: Put) -> None:
    await put(bandit())

    response = await learn(api, until={"new_transitions": 5}, promote="live")

    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == f"/v1/learn/jobs/{job['job_id']}"
    assert (job["policy"], job["status"], job["promote"]) == ("home", "queued", "live")
    assert job["until"]["new_transitions"] == 5
    assert (await api.get(response.headers["location"])).json() == job
    with_policy = await api.get(response.headers["location"], params={"policy": "home"})
    assert with_policy.json() == job


async def test_the_unversioned_path_is_the_same_handler(api: httpx.AsyncClient, put: Put) -> None:
    await put(bandit())

    assert (await api.post("/learn", json={})).status_code == 202


async def test_a_second_job_of_the_same_policy_is_refused_and_of_another_is_not(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(bandit())
    await put(bandit("shop"))
    first = await learn(api, policy="home")

    second = await learn(api, policy="home")

    assert second.status_code == 409
    assert second.json()["code"] == "JobRunning"
    assert first.json()["job_id"] in second.json()["detail"]
    assert (await learn(api, policy="shop")).status_code == 202


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"promote": "at once"}, "/promote"),
        ({"until": {"new_transitions": 0}}, "/until/new_transitions"),
        ({"until": {"new_transitions": 1.5}}, "/until/new_transitions"),
        ({"until": {"max_steps": -1}}, "/until/max_steps"),
        ({"until": {"max_seconds": 0}}, "/until/max_seconds"),
        ({"until": {"max_minutes": 1}}, "/until/max_minutes"),
        ({"until": {"max_steps": 10}}, "/until/max_steps"),  # a linear learner replays nothing
        ({"dry_run": "yes"}, "/dry_run"),
        ({"steps": 1}, "/steps"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused_by_its_place(
    api: httpx.AsyncClient, put: Put, body: dict[str, Any], pointer: str
) -> None:
    await put(bandit())

    response = await learn(api, **body)

    assert response.status_code == 422, response.text
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
    assert (await learn(api)).status_code == 202  # and no job was left behind


async def test_steps_are_for_learners_that_replay(api: httpx.AsyncClient, put: Put) -> None:
    await put(sequential())

    assert (await learn(api, until={"max_steps": 10})).status_code == 202


@pytest.mark.parametrize(
    "job_id", ["home.nothing", "nobody.1", "nothing", "home.", ".", "home%2E1", "a}{b.1"]
)
async def test_unknown_jobs_are_not_found(api: httpx.AsyncClient, put: Put, job_id: str) -> None:
    await put(bandit())

    response = await api.get(f"/v1/learn/jobs/{job_id}")

    assert response.status_code == 404
    assert response.json()["code"] == "NotFound"


async def test_a_job_of_another_policy_looks_like_none(redis_url: str, tmp_path: Path) -> None:
    def key(name: str, scopes: list[str], policies: list[str] | None = None) -> dict[str, Any]:
        digest = hashlib.sha256(name.encode()).hexdigest()
        return {"name": name, "sha256": digest, "scopes": scopes, "policies": policies}

    keys = [
        key("root", ["learn", "admin"]),
        key("shop", ["learn"], ["shop"]),
        key("reader", ["observe"]),
    ]
    settings = settings_for(redis_url, tmp_path, api_keys=json.dumps(keys))
    async with running_api(settings) as api:
        root, shop, reader = (
            {"authorization": f"Bearer {name}"} for name in ("root", "shop", "reader")
        )
        await api.put("/v1/policies/home", json=bandit(), headers=root)
        asked = await api.post("/v1/learn", json={"policy": "home"}, headers=root)
        location = asked.headers["location"]

        assert (await api.get(location, headers=root)).status_code == 200
        foreign = await api.get(location, headers=shop)
        unknown = await api.get("/v1/learn/jobs/home.1", headers=root)
        assert (foreign.status_code, unknown.status_code) == (404, 404)
        assert foreign.json()["detail"] == unknown.json()["detail"]
        assert (await api.get(location, headers=reader)).status_code == 403
        assert (await api.post("/v1/learn", json={}, headers=reader)).status_code == 403
        assert (await api.post("/v1/learn", json={})).status_code == 401


async def test_a_job_asked_for_over_http_is_carried_out_and_served(
    redis_url: str, tmp_path: Path
) -> None:
    document = bandit() | {"learning": {"continuous": False}}
    async with open_studio(redis_url, tmp_path, document) as studio:
        await studio.append(studio.made_up(30))
        async with running_api(studio.settings) as api, studio.learner():
            location = (await learn(api, promote="live")).headers["location"]
            job = await ended(api, location)

            assert (job["status"], job["verdict"], job["candidate"]) == ("done", "live", "home@2")
            assert job["data"]["transitions"] == 30
            assert job["started_at"] <= job["finished_at"]
            await serves(api, "home@2")
            assert (await learn(api)).status_code == 202  # the next one may come


async def ended(api: httpx.AsyncClient, location: str) -> dict[str, Any]:
    async def holds() -> bool:
        return bool((await api.get(location)).json()["finished_at"])

    await eventually(holds, 20.0)
    job: dict[str, Any] = (await api.get(location)).json()
    return job


async def serves(api: httpx.AsyncClient, label: str) -> None:
    async def holds() -> bool:
        return label in (await api.get("/readyz")).json()["serving"]

    await eventually(holds, 20.0)


async def test_a_decision_tells_which_versions_learned_from_it(
    redis_url: str, tmp_path: Path
) -> None:
    """The learner's data range and the decision's place in the stream meet in the lookup."""
    async with open_studio(redis_url, tmp_path, bandit()) as studio:
        async with running_api(studio.settings) as api, studio.learner():
            asked = {"decision_id": "d1", "observation": {"vector": [1.0, 2.0]}, "actions": ["a"]}
            assert (await api.post("/v1/act", json=asked)).status_code == 200
            replay_id = await joined(studio, "d1")
            await studio.learned(1)
            version = (await studio.versions())[-1]

            life = (await api.get("/v1/decisions/d1")).json()

        assert version.first == version.last == replay_id
        assert life["learned_by"] == [f"home@{version.version}"]


async def joined(studio: Studio, decision_id: str) -> str:
    """Closes a decision as the joiner does."""
    [replay_id] = await studio.append(studio.made_up(1))
    key = studio.keys.decision_prefix + decision_id
    await studio.client.hset(key, mapping={"s": "rewarded", "x": replay_id})
    return replay_id
