"""Single answers while Redis is silent or full: each promises exactly what can be kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from redis.asyncio import Redis

from service import metrics
from tests.support.api import running_api, settings_for
from tests.support.policies import bandit, sequential
from tests.support.proxy import FaultProxy
from tests.support.redis import StartRedis
from tests.support.waiting import eventually

ACT: dict[str, Any] = {"observation": {"vector": [0.5, -1]}, "actions": ["a", "b", "c"]}


@dataclass(frozen=True)
class Shaky:
    """An API whose Redis can be silenced."""

    api: httpx.AsyncClient
    proxy: FaultProxy

    async def put(self, *documents: dict[str, Any]) -> None:
        for document in documents:
            answer = await self.api.put(f"/v1/policies/{document['policy']}", json=document)
            assert answer.status_code == 201, answer.text

    async def act(self, policy: str, **changes: Any) -> httpx.Response:
        answer = await self.api.post("/v1/act", json=ACT | {"policy": policy} | changes)
        assert answer.status_code == 200, answer.text
        return answer

    async def delivered(self) -> bool:
        ready = await self.api.get("/readyz")
        return bool(ready.json()["redis"]["waiting"] == 0)


@asynccontextmanager
async def shaky(redis_url: str, folder: Path, **changes: Any) -> AsyncIterator[Shaky]:
    async with FaultProxy(redis_url) as proxy:
        quick = {"confirm_timeout_s": 0.05, **changes}
        async with running_api(settings_for(proxy.url, folder, **quick)) as api:
            yield Shaky(api, proxy)


async def test_a_reward_whose_policy_only_redis_knows_is_to_be_sent_again(
    redis_url: str, tmp_path: Path
) -> None:
    """Failure table row 31: a 422 would tell the caller to give the reward up."""
    async with shaky(redis_url, tmp_path) as it:
        await it.put(bandit("one"), bandit("two"))
        decision_id = (await it.act("two")).json()["decision_id"]
        await it.proxy.stall()

        answer = await it.api.post("/v1/observe", json={"decision_id": decision_id, "reward": 1})

        assert (answer.status_code, answer.json()["code"]) == (503, "RedisUnavailable")
        assert answer.headers["retry-after"] == "1"
        await it.proxy.heal()


async def test_an_activation_is_promised_only_for_a_policy_that_is_certain(
    redis_url: str, tmp_path: Path
) -> None:
    """Failure table rows 6 and 31: one that went to the wrong policy would be lost."""
    async with shaky(redis_url, tmp_path) as it:
        await it.put(bandit("one"), bandit("two"))
        decision_id = (await it.act("two", defer_activation=True)).json()["decision_id"]
        path = f"/v1/decisions/{decision_id}/activate"
        await it.proxy.stall()

        unsure = await it.api.post(path)
        sure = await it.api.post(path, params={"policy": "two"})

        assert (unsure.status_code, unsure.json()["code"]) == (503, "RedisUnavailable")
        assert (sure.status_code, sure.headers["nacre-durability"]) == (204, "spooled")
        await it.proxy.heal()
        await eventually(it.delivered)
        assert (await it.api.get(f"/v1/decisions/{decision_id}")).json()["activated"] is True


async def test_a_seal_says_that_it_is_spooled(redis_url: str, tmp_path: Path) -> None:
    """Failure table row 31."""
    async with shaky(redis_url, tmp_path) as it:
        await it.put(sequential("cart"), bandit("one"))
        await it.act("cart", actions=["left", "right"], episode={"episode_id": "e", "step": 0})
        await it.proxy.stall()

        unsure = await it.api.post("/v1/episodes/e/seal", json={"status": "terminated"})
        sure = await it.api.post(
            "/v1/episodes/e/seal", json={"status": "terminated"}, params={"policy": "cart"}
        )

        assert (unsure.status_code, unsure.json()["code"]) == (503, "RedisUnavailable")
        assert (sure.status_code, sure.headers["nacre-durability"]) == (200, "spooled")
        await it.proxy.heal()


async def test_too_much_is_waiting_for_the_cold_endpoints_too(
    redis_url: str, tmp_path: Path
) -> None:
    """Failure table row 14."""
    async with shaky(redis_url, tmp_path, max_waiting=3) as it:
        await it.put(bandit("one"))
        await it.proxy.stall()
        for _ in range(3):
            await it.act("one")

        answers = [
            await it.api.post("/v1/decisions/d/activate"),
            await it.api.post("/v1/episodes/e/seal", json={"status": "terminated"}),
            await it.api.post("/v1/observe", json={"decision_id": "d", "reward": 1}),
        ]

        assert {(one.status_code, one.json()["code"]) for one in answers} == {(503, "Overloaded")}
        assert {one.headers["retry-after"] for one in answers} == {"1"}
        await it.proxy.heal()


async def test_a_retry_during_an_outage_gets_the_same_answer(
    redis_url: str, tmp_path: Path
) -> None:
    """Failure table row 31: also when its deadline was shorter than the wait for Redis."""
    async with shaky(redis_url, tmp_path, confirm_timeout_s=0.5) as it:
        await it.put(bandit("one"))
        await it.proxy.stall()

        first = await it.act("one", decision_id="d", deadline_ms=100)
        again = await it.act("one", decision_id="d", deadline_ms=100)

        assert first.headers["nacre-durability"] == "queued"
        assert again.headers["idempotency-replayed"] == "true"
        assert again.content == first.content
        await it.proxy.heal()


async def test_a_decision_that_nobody_waited_for_and_redis_refused_is_counted(
    start_redis: StartRedis, tmp_path: Path
) -> None:
    """Failure table row 13: `async` promises nothing, but what it loses is told."""
    server = start_redis()
    lost = metrics.LOST.labels("refused")
    before = lost._value.get()
    async with shaky(server.url, tmp_path) as it, Redis.from_url(server.url) as client:
        await it.put(bandit("one", durability="async"))
        await client.config_set("maxmemory", 1)

        await it.act("one")
        await eventually(it.delivered)

        assert lost._value.get() == before + 1


async def test_a_redis_without_replication_is_no_replica(redis_url: str, tmp_path: Path) -> None:
    """Failure table row 32: the answer comes, and says so."""
    async with shaky(redis_url, tmp_path, confirm_timeout_s=0.2) as it:
        await it.put(bandit("one", durability="replicated"))

        answer = await it.act("one", deadline_ms=2000)

        assert answer.headers["nacre-durability"] == "unreplicated"
