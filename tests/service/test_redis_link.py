"""Group commit against a real Redis: shared round trips, outages, restarts, a full memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from service import metrics
from service.redis_link import UNCONFIRMED, BackpressureError, LinkLimits, LinkReplyError, RedisLink
from service.repository import Script
from service.spool import Spool
from tests.support.proxy import FaultProxy
from tests.support.redis import StartRedis, kill
from tests.support.waiting import eventually

ECHO = Script("return ARGV[1]", "098e0f0d1448c0a81dafe820f66d460eb09263da")
QUICK = LinkLimits(confirm_timeout_s=0.1, reconnect_s=0.02, stall_s=0.5)


@asynccontextmanager
async def opened(url: str, folder: Path, limits: LinkLimits = QUICK) -> AsyncIterator[RedisLink]:
    link = await RedisLink.open(url, scripts=[ECHO.text], spool=Spool.claim(folder), limits=limits)
    try:
        yield link
    finally:
        await link.close()


async def test_requests_in_flight_together_share_one_write(redis_url: str, tmp_path: Path) -> None:
    async with opened(redis_url, tmp_path) as link:
        replies = await asyncio.gather(*[link.append("INCR", "n") for _ in range(100)])

        assert replies == list(range(1, 101))
        assert link.counters.writes == 1


async def test_scripts_are_there_from_the_first_command(redis_url: str, tmp_path: Path) -> None:
    async with opened(redis_url, tmp_path) as link:
        assert await link.append("EVALSHA", ECHO.sha, 0, "hello") == b"hello"


async def test_scripts_are_loaded_again_when_redis_forgot_them(
    redis_url: str, redis_client: Redis, tmp_path: Path
) -> None:
    async with opened(redis_url, tmp_path) as link:
        await redis_client.script_flush()

        reply = await link.append("EVALSHA", ECHO.sha, 0, "hello")
        await eventually(_drained(link))

        assert reply in (b"hello", UNCONFIRMED)
        assert await link.append("EVALSHA", ECHO.sha, 0, "again") == b"again"


async def test_a_refused_command_raises_and_the_others_go_through(
    redis_url: str, tmp_path: Path
) -> None:
    async with opened(redis_url, tmp_path) as link:
        good, bad = link.append("SET", "k", "v"), link.append("NOSUCH")

        assert await good == b"OK"
        with pytest.raises(LinkReplyError, match="NOSUCH"):
            await bad


async def test_a_stalled_redis_costs_the_confirm_timeout_once_and_nothing_is_lost(
    redis_url: str, redis_client: Redis, tmp_path: Path
) -> None:
    """Failure table row 31."""
    async with FaultProxy(redis_url) as proxy, opened(proxy.url, tmp_path) as link:
        await proxy.stall()

        first = await asyncio.wait_for(link.append("SADD", "s", "first"), 2)
        second = link.append("SADD", "s", "second")

        assert first is UNCONFIRMED
        assert second.done()  # known to be late: no second wait
        await proxy.heal()
        await eventually(_holds(redis_client, {b"first", b"second"}))
        await eventually(_drained(link))


async def test_a_cut_connection_delivers_what_was_in_flight_again(
    redis_url: str, redis_client: Redis, tmp_path: Path
) -> None:
    async with FaultProxy(redis_url) as proxy, opened(proxy.url, tmp_path) as link:
        await link.append("SADD", "s", "before")
        await proxy.reset()

        await link.append("SADD", "s", "after")
        await eventually(_drained(link))

    assert await redis_client.smembers("s") == {b"before", b"after"}


async def test_commands_written_while_redis_was_away_survive_the_death_of_this_process(
    start_redis: StartRedis, tmp_path: Path
) -> None:
    """Failure table rows 15 and 31: acknowledged as spooled, found again after both have died."""
    server = start_redis()
    spool = Spool.claim(tmp_path)
    link = await RedisLink.open(server.url, scripts=[], spool=spool, limits=QUICK)
    kill(server)
    reply = await link.append("SADD", "s", "kept")
    link._keeper and link._keeper.cancel()
    spool.close()  # the process dies here: nothing is flushed, nothing closed properly

    server.restart()
    async with opened(server.url, tmp_path), Redis.from_url(server.url) as client:
        await eventually(_holds(client, {b"kept"}))

    assert reply is UNCONFIRMED


async def test_more_than_the_limit_is_refused_at_once(tmp_path: Path) -> None:
    """Failure table row 14."""
    limits = LinkLimits(confirm_timeout_s=0.05, max_waiting=10, reconnect_s=0.02)
    async with opened("redis://127.0.0.1:1/0", tmp_path, limits) as link:
        for _ in range(10):
            link.append("PING")

        with pytest.raises(BackpressureError):
            link.append("PING")

        assert link.counters.refused == 1


async def test_a_spooled_command_waits_for_room_when_memory_is_full(
    start_redis: StartRedis, tmp_path: Path
) -> None:
    """Failure table row 33: its caller was told that it will be delivered."""
    server = start_redis()
    async with (
        Redis.from_url(server.url) as client,
        FaultProxy(server.url) as proxy,
        opened(proxy.url, tmp_path) as link,
    ):
        await proxy.stall()
        assert await link.append("SADD", "s", "kept") is UNCONFIRMED
        await client.config_set("maxmemory", 1)
        await proxy.heal()
        await eventually(_refused(link))

        await client.config_set("maxmemory", 0)

        await eventually(_holds(client, {b"kept"}))


async def test_a_spooled_command_that_waits_for_room_survives_the_death_of_this_process(
    start_redis: StartRedis, tmp_path: Path
) -> None:
    """Failure table rows 15 and 33: refused for now is not delivered; it stays on disk."""
    server = start_redis()
    async with Redis.from_url(server.url) as client, FaultProxy(server.url) as proxy:
        spool = Spool.claim(tmp_path)
        link = await RedisLink.open(proxy.url, scripts=[], spool=spool, limits=QUICK)
        await proxy.stall()
        assert await link.append("SADD", "s", "kept") is UNCONFIRMED
        await client.config_set("maxmemory", 1)
        await proxy.heal()
        await eventually(_refused(link))
        waiting = link.waiting
        link._keeper and link._keeper.cancel()
        spool.close()  # the process dies here: nothing is flushed, nothing closed properly

        await client.config_set("maxmemory", 0)
        async with opened(server.url, tmp_path):
            await eventually(_holds(client, {b"kept"}))

    assert waiting == 1


async def test_a_promise_that_cannot_be_kept_is_counted(
    redis_url: str, redis_client: Redis, tmp_path: Path
) -> None:
    """Failure table row 13: Redis refuses a spooled command for good."""
    lost = metrics.LOST.labels("WRONGTYPE")
    before = lost._value.get()
    await redis_client.set("text", "x")
    async with FaultProxy(redis_url) as proxy, opened(proxy.url, tmp_path) as link:
        await proxy.stall()
        assert await link.append("SADD", "text", "never") is UNCONFIRMED
        await proxy.heal()
        await eventually(_drained(link))

    assert lost._value.get() == before + 1


def _drained(link: RedisLink) -> Callable[[], Awaitable[bool]]:
    async def drained() -> bool:
        return link.waiting == 0

    return drained


def _refused(link: RedisLink) -> Callable[[], Awaitable[bool]]:
    async def refused() -> bool:
        return sum(link.counters.errors.values()) > 0

    return refused


def _holds(client: Redis, expected: set[bytes]) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return await client.smembers("s") == expected

    return holds
