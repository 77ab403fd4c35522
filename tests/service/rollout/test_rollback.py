"""What is rolled back is so on every server within two seconds, whatever the trigger and whoever lost a hint."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from redis.asyncio import Redis

from service.policies.store import PolicyStore
from service.repository import HINTS
from service.rollout.logic import aborted
from service.rollout.moves import Mover
from service.security import ANYONE
from service.settings import Settings
from service.tasks import end
from tests.support.rollouts import Stage
from tests.support.served import neural
from tests.support.waiting import eventually

LIMIT_S = 2.0


@pytest.fixture
async def stage(redis_client: Redis, tmp_path: Path) -> Stage:
    """A canary that decides for half of the subjects."""
    rule = {"gate": None, "steps": [{"share": 0.5, "at_least_s": 600}], "least_rewards": 50}
    made = Stage(redis_client, tmp_path, neural(rollout=rule))
    await made.register()
    await made.publish()
    await made.start(at="canary")
    await made.turn()
    return made


async def _listen(client: Redis, hints: asyncio.Event, is_heard: asyncio.Event) -> None:
    async with client.pubsub() as channel:
        await channel.subscribe(HINTS)
        async for message in channel.listen():
            is_heard.set()
            if message["type"] == "message":
                hints.set()


@pytest.fixture
async def servers(stage: Stage, redis_url: str) -> AsyncIterator[list[PolicyStore]]:
    """One that hears hints and hardly polls, and one that polls as servers do and hears nothing."""
    hints, is_heard, silence = asyncio.Event(), asyncio.Event(), asyncio.Event()
    async with AsyncExitStack() as stack:
        listener = await stack.enter_async_context(Redis.from_url(redis_url))
        stores = [PolicyStore(stage.policies, stage.artefacts, 1.0) for _ in range(2)]
        for work in (
            _listen(listener, hints, is_heard),
            stores[0].keep_fresh(hints, 60.0),
            stores[1].keep_fresh(silence, Settings().poll_s),
        ):
            stack.push_async_callback(end, asyncio.create_task(work))
        await is_heard.wait()
        await eventually(lambda: arms(stores, {"live", "canary"}))
        yield stores


async def arms(stores: list[PolicyStore], expected: set[str]) -> bool:
    """Whether every server has exactly these arms."""
    if not all(store.all_served() for store in stores):
        return False
    found = [store.serving("home", ANYONE) for store in stores]
    return all({arm.name for arm in one.arms} == expected for one in found)


async def bad_rewards(stage: Stage) -> None:
    await stage.rewards("canary", [0.0, 0.1] * 100)
    await stage.rewards("live", [1.0, 0.9] * 100)


async def a_trip(stage: Stage) -> None:
    await stage.trip()


async def a_person(stage: Stage) -> None:
    rollout = await stage.rollout()
    assert rollout is not None
    mover = Mover(stage.policies, stage.keys, await stage.meta(), "ana", stage.now_ms)
    assert await mover.move(rollout, aborted("looks odd"))


@pytest.mark.parametrize(
    ("trigger", "after"), [(bad_rewards, "live"), (a_trip, "fallback"), (a_person, "live")]
)
async def test_no_server_asks_the_canary_any_more_within_two_seconds(
    stage: Stage,
    servers: list[PolicyStore],
    trigger: Callable[[Stage], Awaitable[None]],
    after: str,
) -> None:
    started_s = time.monotonic()

    await trigger(stage)
    await stage.follower.follow(await stage.watched(), stage.now_ms + 2_000)
    await eventually(lambda: arms(servers, {after}), timeout_s=10.0)

    assert time.monotonic() - started_s < LIMIT_S
    assert await stage.rollout() is None
    assert {store.served("home", ANYONE).version for store in servers} == {1}
