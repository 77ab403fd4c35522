"""Requests, rewards, the worker and two versions: a canary from its start to its end, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from service.workers import worker
from tests.support.api import settings_for
from tests.support.rollouts import Stage
from tests.support.served import neural
from tests.support.waiting import eventually

RULE = {
    "gate": None,
    "steps": [{"share": 0.5, "at_least_s": 0}],
    "margin": 0.1,
    "least_rewards": 30,
}
ACT = {"observation": {"vector": [1.0, 2.0]}, "actions": ["a", "b", "c"]}
PATH = "/v1/policies/home/rollout"


@pytest.fixture
async def working(redis_url: str, tmp_path: Path) -> AsyncIterator[None]:
    """The worker of the service, in this process."""
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(settings_for(redis_url, tmp_path), stop))
    yield
    stop.set()
    await asyncio.wait_for(task, 10)


@pytest.mark.parametrize(("good", "live", "to"), [("home@2", 2, "live"), ("home@1", 1, "retired")])
async def test_traffic_decides_about_a_candidate(
    api: httpx.AsyncClient,
    working: None,
    redis_client: Redis,
    tmp_path: Path,
    good: str,
    live: int,
    to: str,
) -> None:
    stage = Stage(redis_client, tmp_path, neural(rollout=RULE))
    await stage.register()
    await stage.publish()
    await api.post(PATH, json={"version": 2, "why": "try it", "at": "canary"})
    seen: dict[str, str] = {}

    async with asyncio.timeout(30):
        while (await stage.meta()).rollout:
            for _ in range(20):
                subject = f"s{len(seen)}"
                made = await _decide(api, subject)
                seen[subject] = made["model_version"]
                reward = {"decision_id": made["decision_id"], "reward": float(made["model_version"] == good)}  # fmt: skip
                await api.post("/v1/observe", json=reward | {"final": True, "policy": "home"})

    versions = set(seen.values())
    await eventually(lambda: _all_served_by(api, f"home@{live}"), timeout_s=2.0)
    events = (await api.get("/v1/policies/home/events")).json()["events"]
    assert versions >= {"home@1", "home@2"}
    assert (await stage.meta()).live == live
    assert [(one["who"], one["detail"]["to"]) for one in events] == [("rollout", to), ("loopback", "canary")]  # fmt: skip


async def _all_served_by(api: httpx.AsyncClient, version: str) -> bool:
    found = [(await _decide(api, subject))["model_version"] for subject in ("s0", "s1", "s2", "s3")]
    return set(found) == {version}


async def _decide(api: httpx.AsyncClient, subject: str) -> dict[str, Any]:
    answer = await api.post("/v1/act", json=ACT | {"subject": subject, "policy": "home"})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made
