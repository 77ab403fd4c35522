"""The proxy that other tests trust to break connections breaks them as it says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.proxy import BackgroundProxy, FaultProxy

pytestmark = pytest.mark.faults


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(redis_url) as between:
        yield between


@pytest.fixture
async def client(proxy: FaultProxy) -> AsyncIterator[redis.asyncio.Redis]:
    """Through the proxy; gives up after 0.3 s and never retries, so that every fault is seen."""
    async with redis.asyncio.Redis.from_url(
        proxy.url, socket_timeout=0.3, retry=redis.asyncio.retry.Retry(NoBackoff(), 0)
    ) as through:
        yield through


async def test_what_is_sent_arrives_unchanged(client: redis.asyncio.Redis) -> None:
    value = bytes(range(256)) * 4096  # 1 MiB, many chunks

    await client.set("key", value)

    assert await client.get("key") == value


async def test_a_delay_is_paid_once_in_each_direction(
    proxy: FaultProxy, client: redis.asyncio.Redis
) -> None:
    await client.ping()
    await proxy.delay(0.05)

    started = time.monotonic()
    await client.ping()
    took_s = time.monotonic() - started

    assert took_s >= 0.1


async def test_delayed_requests_travel_side_by_side(proxy: FaultProxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    await proxy.delay(0.1)

    started = time.monotonic()
    for _ in range(10):
        writer.write(b"PING\r\n")
        await asyncio.sleep(0.01)
    await reader.readexactly(len(b"+PONG\r\n") * 10)
    took_s = time.monotonic() - started
    writer.close()

    assert took_s < 1.0  # one after the other they would need 10 x 2 x 0.1 s = 2 s


async def test_a_stalled_connection_stays_open_and_delivers_when_healed(
    proxy: FaultProxy, redis_client: redis.asyncio.Redis
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    await proxy.stall()
    writer.write(b"SET key late\r\n")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readline(), 0.1)
    assert await redis_client.get("key") is None

    await proxy.heal()

    assert await reader.readline() == b"+OK\r\n"
    assert await redis_client.get("key") == b"late"
    writer.close()


async def test_a_new_connection_to_a_stalled_proxy_is_accepted_and_times_out(
    proxy: FaultProxy, client: redis.asyncio.Redis
) -> None:
    await proxy.stall()

    with pytest.raises(redis.TimeoutError):
        await client.ping()


async def test_a_reset_breaks_open_connections_and_new_ones_work(
    proxy: FaultProxy, client: redis.asyncio.Redis
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"PING\r\n")
    await reader.readline()

    await proxy.reset()

    with pytest.raises(ConnectionResetError):
        await reader.readline()
    assert await client.ping()
    writer.close()


async def test_a_refusing_proxy_comes_back_at_the_same_url(
    proxy: FaultProxy, client: redis.asyncio.Redis
) -> None:
    url = proxy.url
    await client.ping()
    await proxy.refuse()
    for _ in range(2):  # the open connection breaks, then a new one is refused
        with pytest.raises(redis.ConnectionError):
            await client.ping()

    await proxy.heal()

    assert proxy.url == url
    assert await client.ping()


async def test_a_cut_answer_loses_the_answer_and_not_the_command(
    proxy: FaultProxy, client: redis.asyncio.Redis, redis_client: redis.asyncio.Redis
) -> None:
    await client.ping()
    await proxy.cut_after(0, "to_client")

    with pytest.raises(redis.ConnectionError):
        await client.incr("counted")

    assert await redis_client.get("counted") == b"1"
    assert await client.incr("counted") == 2  # only one connection was cut


async def test_a_cut_command_never_happens(
    proxy: FaultProxy, client: redis.asyncio.Redis, redis_client: redis.asyncio.Redis
) -> None:
    await client.ping()
    await proxy.cut_after(10, "to_server")

    with pytest.raises(redis.ConnectionError):
        await client.set("key", b"x" * 1000)

    assert await redis_client.get("key") is None


async def test_what_may_still_pass_before_a_cut_passes(proxy: FaultProxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    await proxy.cut_after(len(b"+PONG\r\n") * 2, "to_client")
    answers = []
    for _ in range(2):
        writer.write(b"PING\r\n")
        answers.append(await reader.readline())

    writer.write(b"PING\r\n")
    with pytest.raises(ConnectionResetError):
        await reader.readline()

    assert answers == [b"+PONG\r\n", b"+PONG\r\n"]
    writer.close()


async def test_a_client_that_hangs_up_frees_its_connection_to_the_server(
    proxy: FaultProxy, redis_client: redis.asyncio.Redis
) -> None:
    before = (await redis_client.info("clients"))["connected_clients"]
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"PING\r\n")
    await reader.readline()

    writer.close()

    for _ in range(200):
        if (await redis_client.info("clients"))["connected_clients"] == before:
            break
        await asyncio.sleep(0.01)
    else:
        pytest.fail("the connection to the server stayed open")


async def test_a_client_that_expects_a_unix_socket_gets_one(redis_url: str, tmp_path: Path) -> None:
    async with (
        FaultProxy(redis_url, listen_path=str(tmp_path / "proxy.sock")) as between,
        redis.asyncio.Redis.from_url(between.url) as through,
    ):
        await through.set("key", "value")
        assert between.url.startswith("unix://")
        assert await through.get("key") == b"value"


async def test_a_proxy_in_front_of_a_proxy_reaches_a_tcp_server(proxy: FaultProxy) -> None:
    async with (
        FaultProxy(proxy.url) as outer,
        redis.asyncio.Redis.from_url(outer.url) as through,
    ):
        assert await through.ping()


def test_a_proxy_in_the_background_is_steered_from_the_test(redis_url: str) -> None:
    with (
        BackgroundProxy(redis_url) as proxy,
        redis.Redis.from_url(proxy.url, retry=Retry(NoBackoff(), 0)) as through,
    ):
        through.ping()
        proxy.apply(FaultProxy.cut_after, 0, "to_client")
        with pytest.raises(redis.ConnectionError):
            through.incr("counted")
        proxy.apply(FaultProxy.refuse)
        with pytest.raises(redis.ConnectionError):
            through.ping()
        proxy.apply(FaultProxy.heal)

        assert through.get("counted") == b"1"
