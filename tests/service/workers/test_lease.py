"""One holder at a time, and another soon after the first is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from service.repository import LEASE_PREFIX
from service.workers.lease import Lease
from service.workers.repository import LeaseRepository
from tests.support.proxy import FaultProxy

DURATION_S = 0.5
KEY = LEASE_PREFIX + "role"


def lease(client: Redis, duration_s: float = DURATION_S) -> Lease:
    return Lease(LeaseRepository(client), "role", duration_s=duration_s)


@pytest.fixture
def stop() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(redis_url) as proxy:
        yield proxy


@pytest.fixture
async def behind(proxy: FaultProxy) -> AsyncIterator[Redis]:
    """A client whose connection the test can break."""
    once = Retry(NoBackoff(), 0)
    async with Redis.from_url(proxy.url, socket_timeout=5.0, retry=once) as client:
        yield client


async def until_lost(held: Lease) -> None:
    while held.is_held:  # noqa: ASYNC110 - only the passing of time ends it
        await asyncio.sleep(0.005)


async def test_only_one_of_two_holds_the_role(redis_client: Redis, stop: asyncio.Event) -> None:
    first, second = lease(redis_client), lease(redis_client)
    await first.wait(stop)

    waiting = asyncio.create_task(second.wait(stop))
    async with first.kept():
        await asyncio.sleep(2 * DURATION_S)  # that no time ends it while it is kept

        assert first.is_held
        assert not waiting.done()
    assert await waiting
    assert second.is_held
    assert not first.is_held


async def test_a_standby_takes_over_when_the_holder_is_gone(
    redis_client: Redis, stop: asyncio.Event
) -> None:
    dead, standby = lease(redis_client), lease(redis_client)
    await dead.wait(stop)
    began = time.monotonic()

    await standby.wait(stop)

    assert 0.5 * DURATION_S < time.monotonic() - began < 2 * DURATION_S


async def test_a_holder_that_cannot_renew_stops_before_anyone_else_can_begin(
    redis_client: Redis, behind: Redis, proxy: FaultProxy, stop: asyncio.Event
) -> None:
    held = lease(behind)
    await held.wait(stop)

    async with asyncio.timeout(5 * DURATION_S), held.kept():
        await proxy.stall()
        await until_lost(held)
        left_ms = await redis_client.pttl(KEY)
        await proxy.heal()

    assert left_ms > 0


async def test_a_short_silence_of_redis_does_not_end_a_lease(
    behind: Redis, proxy: FaultProxy, stop: asyncio.Event
) -> None:
    held = lease(behind)
    await held.wait(stop)

    async with held.kept():
        await proxy.refuse()
        await asyncio.sleep(0.3 * DURATION_S)  # a renewal fails meanwhile
        await proxy.heal()
        await asyncio.sleep(DURATION_S)  # longer than the lease lasts by itself

        assert held.is_held


async def test_a_role_that_somebody_took_is_given_up_at_the_next_renewal(
    redis_client: Redis, stop: asyncio.Event
) -> None:
    """By its own clock the lease would last another 1.6 s; the next renewal is after 0.4 s."""
    held = lease(redis_client, duration_s=2.0)
    await held.wait(stop)

    async with asyncio.timeout(1.2), held.kept():
        await redis_client.set(KEY, "another")
        await until_lost(held)

    assert await redis_client.get(KEY) == b"another"


async def test_waiting_outlives_redis(
    behind: Redis, proxy: FaultProxy, stop: asyncio.Event
) -> None:
    await proxy.refuse()
    waiting = asyncio.create_task(lease(behind).wait(stop))
    await asyncio.sleep(0.3 * DURATION_S)  # a try fails meanwhile
    await proxy.heal()

    assert await waiting


async def test_waiting_ends_when_the_process_is_to_stop(
    redis_client: Redis, stop: asyncio.Event
) -> None:
    await lease(redis_client).wait(stop)
    waiting = asyncio.create_task(lease(redis_client).wait(stop))

    stop.set()

    assert not await waiting
