"""The worker as a whole: it joins, archives and sweeps, alone or in company, while Redis comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import structlog
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from service.archive.parts import read_archive
from service.learning.repository import LearningRepository
from service.learning.schemas import LearnerStatus
from service.repository import POLICIES, PolicyKeys
from service.settings import Settings
from service.workers import worker
from tests.support.api import running_api, settings_for
from tests.support.ledgers import World, open_world
from tests.support.policies import bandit, sequential
from tests.support.processes import Child, Children
from tests.support.proxy import BackgroundProxy, FaultProxy
from tests.support.redis import StartRedis, kill

QUICK: dict[str, Any] = {"lease_s": 0.5, "archive_every_s": 0.1}


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[None]:
    """A worker in this process; it has stopped when the block is left."""
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(settings, stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)


async def until(is_true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await is_true():  # noqa: ASYNC110 - it is a process, or Redis, that is watched
            await asyncio.sleep(0.01)


def joined(world: World, count: int) -> Callable[[], Awaitable[bool]]:
    """Whether nothing of the policy is pending and `count` transitions were made."""

    async def is_joined() -> bool:
        pending, made = (
            await world.client.zcard(world.keys.due),
            await world.client.xlen(world.keys.replay),
        )
        return pending == 0 and made == count

    return is_joined


async def assert_joined_once(world: World, count: int) -> None:
    made = [transition.decision_id for transition in await world.transitions()]
    assert sorted(made) == sorted(f"d{at}" for at in range(count))
    counts = await world.counts()
    assert counts["decisions"] == count
    assert counts["defaulted"] == count
    assert "pending" not in counts


# -- what it does ---------------------------------------------------------------------------------


async def test_it_joins_archives_and_sweeps(redis_url: str, tmp_path: Path) -> None:
    """The test's clock stands in the past, so everything is due, too early or idle at once."""
    async with open_world(redis_url, sequential()) as world:
        await world.decide("d0", actions=["left"], action="left")
        await world.decide("d1", actions=["left"], action="left", episode=("e", 0))
        await world.reward("d0", 1.0)
        await world.reward("nobody", 1.0)

        async with running(settings_for(redis_url, tmp_path, **QUICK)):
            await until(joined(world, 1))

            async def is_archived() -> bool:
                events = [event.type for event in read_archive(tmp_path / "archive" / "cart")]
                return events.count("joined") == 2

            await until(is_archived)

        assert await world.counts() == {
            "decisions": 2,
            "reward_joined": 1,
            "reward_pending_decision": 1,
            "rewarded": 1,
            "no_successor": 1,
            "orphaned": 1,
        }
        archived = [event.type for event in read_archive(tmp_path / "archive" / "cart")]
        assert {"policy", "decision", "reward", "seal", "joined"} == set(archived)


async def test_a_policy_that_cannot_be_followed_holds_up_no_other(
    redis_url: str, tmp_path: Path
) -> None:
    settings = settings_for(redis_url, tmp_path, **QUICK)
    broken, sound = PolicyKeys("a"), PolicyKeys("z")
    async with running_api(settings) as api, Redis.from_url(redis_url) as client:
        for keys in (broken, sound):
            put = await api.put(f"/v1/policies/{keys.policy}", json=bandit(policy=keys.policy))
            assert put.status_code == 201, put.text
        await client.set(broken.following, "not what it should be")

        async with running(settings):

            async def is_watched() -> bool:
                return bool(await client.exists(sound.monitoring))

            await until(is_watched)

        assert not await client.exists(broken.monitoring)


async def test_what_the_api_recorded_is_what_is_joined_and_archived(
    redis_url: str, tmp_path: Path
) -> None:
    """The other tests here write records by hand; these come through HTTP."""
    settings = settings_for(redis_url, tmp_path, **QUICK)
    document = bandit(learning={"from_shadow": True})
    body = {"observation": {"vector": [1.0, 2.0]}, "actions": ["a", "b"]}
    shadow = body | {"action_id": "b", "behavior_policy": "legacy", "propensity": 0.25}
    async with running_api(settings) as api, open_world(redis_url, document) as world:
        await api.put("/v1/policies/home", json=document)
        decided = await api.post("/v1/act", json=body | {"decision_id": "d0"})
        watched = await api.post("/v1/shadow", json=shadow | {"decision_id": "d1"})
        batch = {"defaults": body, "requests": [{"decision_id": "d2"}]}
        batched = await api.post("/v1/act:batch", json=batch)
        rewards = [{"decision_id": f"d{at}", "reward": at, "final": True} for at in range(3)]
        observed = await api.post("/v1/observe", json={"rewards": rewards})
        statuses = [one.status_code for one in (decided, watched, batched, observed)]

        async with running(settings):
            await until(joined(world, 3))
            await until(lambda: _is(_archived(tmp_path).count("joined") == 3))

        made = {one.decision_id: one for one in await world.transitions()}
        assert statuses == [200, 202, 200, 202]
        assert [made[f"d{at}"].reward for at in range(3)] == [0.0, 1.0, 2.0]
        assert made["d0"].actions.ids[made["d0"].action] == decided.json()["action"]["id"]
        assert made["d0"].propensity == decided.json()["propensity"]
        assert (made["d1"].action, made["d1"].propensity, made["d1"].model_version) == (1, 0.25, 0)
        assert made["d2"].model_version == 1
        for one in made.values():
            assert one.state.tolist() == [1.0, 2.0]
        kinds = _archived(tmp_path)
        assert (kinds.count("decision"), kinds.count("shadow"), kinds.count("reward")) == (2, 1, 3)


def _archived(root: Path) -> list[str]:
    return [event.type for event in read_archive(root / "archive" / "home")]


async def test_the_replay_stream_is_bounded_and_the_loss_is_counted(
    redis_url: str, tmp_path: Path
) -> None:
    async with open_world(redis_url, bandit(replay_limit=5)) as world:
        for at in range(20):
            await world.decide(f"d{at}")
        await world.join(at_ms=world.deadline_ms)
        entries: Any = await world.client.xrange(world.keys.replay)
        learned = entries[11][0].decode()
        status = LearnerStatus(
            at_ms=0, lineage=1, position=learned, checkpoint=learned, experience=12, updates=0,
            missed=0, skipped={},
        )  # fmt: skip
        await LearningRepository(world.client).put_status(world.keys, status)

        async with running(settings_for(redis_url, tmp_path, **QUICK)):
            await until(joined(world, 5))

        assert (await world.counts())["replay_dropped"] == 3


async def test_a_policy_that_this_version_cannot_read_does_not_stop_the_others(
    redis_url: str, tmp_path: Path
) -> None:
    async with open_world(redis_url, bandit()) as world:
        await world.client.sadd(POLICIES, "from-the-future")
        await world.client.hset(PolicyKeys("from-the-future").meta, "config", b'{"new": 1}')
        await world.decide("d0")

        async with running(settings_for(redis_url, tmp_path, **QUICK)):
            await until(joined(world, 1))

        assert [made.decision_id for made in await world.transitions()] == ["d0"]


async def test_an_archive_that_cannot_be_written_does_not_stop_the_joins(
    redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "archive").write_text("a file where the folder should be")
    async with open_world(redis_url, bandit()) as world:
        await world.decide("d0")

        async with running(settings_for(redis_url, tmp_path, **QUICK)):
            await until(joined(world, 1))

        assert await world.client.xlen(world.keys.log) == 3


async def test_a_change_of_the_policy_is_noticed(redis_url: str, tmp_path: Path) -> None:
    async with (
        open_world(redis_url, bandit(reward={"wait_s": 60, "default": 1.0})) as world,
        running(settings_for(redis_url, tmp_path, **QUICK)),
    ):
        await world.decide("d0")
        await until(joined(world, 1))
        async with open_world(redis_url, bandit(reward={"wait_s": 60, "default": 2.0})):
            await asyncio.sleep(1.5)  # policies are read once a second
        await world.decide("d1")
        await until(joined(world, 2))

        assert [made.reward for made in await world.transitions()] == [1.0, 2.0]


async def test_redis_that_is_nearly_full_is_reported_once(redis_url: str, tmp_path: Path) -> None:
    """(failure table row 33)"""
    async with Redis.from_url(redis_url) as client:
        used = int((await client.info("memory"))["used_memory"])
        await client.config_set("maxmemory", int(used * 1.1))
        try:
            with structlog.testing.capture_logs() as logs:
                async with running(settings_for(redis_url, tmp_path, **QUICK)):
                    await until(lambda: _is(any(_is_alarm(line) for line in logs)))
                    await asyncio.sleep(1.2)  # the next look at the memory
        finally:
            await client.config_set("maxmemory", 0)

    assert sum(_is_alarm(line) for line in logs) == 1
    assert (REGISTRY.get_sample_value("nacre_redis_used_memory_bytes") or 0) > 0


def _is_alarm(line: Any) -> bool:
    return bool(line["event"] == "redis_nearly_full")


async def _is(value: bool) -> bool:
    return value


async def test_the_heartbeat_beats_also_without_redis(tmp_path: Path) -> None:
    heartbeat = tmp_path / "alive"
    settings = settings_for("redis://127.0.0.1:1/0", tmp_path, heartbeat=heartbeat, **QUICK)

    async with running(settings):
        await until(lambda: _is(heartbeat.exists()))
        first = heartbeat.stat().st_mtime_ns
        await until(lambda: _is(heartbeat.stat().st_mtime_ns > first))

    assert heartbeat.exists()


# -- crashes --------------------------------------------------------------------------------------


async def test_it_lives_through_a_crash_of_redis(start_redis: StartRedis, tmp_path: Path) -> None:
    """(failure table rows 7 and 31)"""
    server = start_redis()
    async with running(settings_for(server.url, tmp_path, **QUICK)):
        async with open_world(server.url, bandit()) as world:
            for at in range(50):
                await world.decide(f"d{at}")
            await until(joined(world, 50))
        kill(server)
        await asyncio.sleep(0.3)  # that the worker notices
        server.restart()
        async with open_world(server.url, bandit()) as world:
            for at in range(50, 100):
                await world.decide(f"d{at}")
            await until(joined(world, 100))

            await assert_joined_once(world, 100)


async def test_the_standby_takes_over_when_the_worker_stops(redis_url: str, tmp_path: Path) -> None:
    async with open_world(redis_url, bandit()) as world, AsyncExitStack() as standby:
        async with running(settings_for(redis_url, tmp_path / "first", **QUICK)):
            await world.decide("d0")
            await until(joined(world, 1))
            second = settings_for(redis_url, tmp_path / "second", **QUICK)
            await standby.enter_async_context(running(second))
            for at in range(1, 50):
                await world.decide(f"d{at}")
            await until(joined(world, 50))
        for at in range(50, 100):
            await world.decide(f"d{at}")
        await until(joined(world, 100))

        await assert_joined_once(world, 100)


@pytest.mark.faults
async def test_a_worker_that_is_killed_in_the_middle_of_a_backlog_joins_nothing_twice(
    redis_url: str, tmp_path: Path, children: Children
) -> None:
    """(failure table row 7): 2,000 decisions are overdue; the worker dies by SIGKILL among them."""
    environment = {
        "NACRE_ARCHIVE": str(tmp_path / "archive"),
        "NACRE_LEASE_S": "1",
        "NACRE_ARCHIVE_EVERY_S": "0.1",
    }
    async with open_world(redis_url, bandit()) as world:
        await asyncio.gather(*[world.decide(f"d{at}") for at in range(2000)])
        with (
            BackgroundProxy(redis_url) as proxy,
            redis.Redis.from_url(redis_url) as watching,
        ):
            proxy.apply(FaultProxy.delay, 0.02)  # so that the backlog takes a second, not a tenth
            slow = children.nacre("worker", environment=environment | {"REDIS_URL": proxy.url})
            _wait_for_joins(slow, watching, world.keys, 500)
            slow.kill()
        at_the_kill = await world.client.xlen(world.keys.replay)

        children.nacre("worker", environment=environment | {"REDIS_URL": redis_url})
        await until(joined(world, 2000))

        assert 500 <= at_the_kill < 2000
        await assert_joined_once(world, 2000)


def _wait_for_joins(child: Child, client: redis.Redis, keys: PolicyKeys, count: int) -> None:
    child.wait_until(lambda: int(client.xlen(keys.replay)) >= count, what="joins", timeout_s=60)
