"""A service that is slow or silent, on a real socket: the call ends when its time is up."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio.to_thread
import pytest
from nacre_client import ConnectFailedError, DeadlineExceededError

from tests.clients.harness import Sdk, decision_body


async def in_background(sdk: Sdk, method: Any, *args: Any, **options: Any) -> Any:
    """Calls a method without blocking the event loop that the test's server needs."""
    if sdk.is_async:
        return await method(*args, **options)
    return await anyio.to_thread.run_sync(lambda: method(*args, **options))


@contextlib.asynccontextmanager
async def server(serve: Any) -> AsyncIterator[str]:
    """A TCP server on a free port of this machine; yields its address."""
    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        listening.close()


async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes whatever comes and answers nothing, until the client hangs up."""
    await reader.read()
    writer.close()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Closes the connection in the middle of the request."""
    await reader.read(1)
    writer.close()


async def test_a_silent_service_costs_no_more_than_the_time_allowed(sdk: Sdk) -> None:
    async with server(stay_silent) as url:
        client = sdk.open(base_url=url, timeout_s=0.2)
        start_s = time.monotonic()

        with pytest.raises(DeadlineExceededError, match=r"no answer within 0\.2 s, 1 attempt"):
            await in_background(sdk, client.act, [1.0], ["a"])

        # Two retries were allowed, but the first attempt had used up the time.
        assert 0.2 <= time.monotonic() - start_s < 2.0
        await sdk.close()


async def test_deadline_ms_bounds_the_call_below_the_clients_timeout(sdk: Sdk) -> None:
    async with server(stay_silent) as url:
        client = sdk.open(base_url=url, timeout_s=30.0)
        start_s = time.monotonic()

        with pytest.raises(DeadlineExceededError, match=r"no answer within 0\.1 s"):
            await in_background(sdk, client.act, [1.0], ["a"], deadline_ms=100)

        assert time.monotonic() - start_s < 2.0
        await sdk.close()


async def test_a_silent_service_is_replaced_by_the_baseline_in_time(sdk: Sdk) -> None:
    async with server(stay_silent) as url:
        client = sdk.open(base_url=url, fallback="baseline")

        decision = await in_background(
            sdk, client.act, [1.0], ["a", "b"], baseline_action="b", deadline_ms=100
        )

        assert (decision.action.id, decision.is_local) == ("b", True)
        await sdk.close()


async def test_a_broken_connection_is_reported_as_such(sdk: Sdk) -> None:
    async with server(hang_up) as url:
        client = sdk.open(base_url=url, max_retries=1)

        with pytest.raises(ConnectFailedError, match=r"2 attempt\(s\)"):
            await in_background(sdk, client.act, [1.0], ["a"])

        await sdk.close()


async def test_a_connection_is_used_again_for_the_next_call(sdk: Sdk) -> None:
    connections = 0

    async def count_and_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answer_all(reader, writer)

    async with server(count_and_answer) as url:
        client = sdk.open(base_url=url)

        for _ in range(3):
            await in_background(sdk, client.act, [1.0], ["a"])

        assert connections == 1
        await sdk.close()


async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The smallest HTTP/1.1 service: one decision for every request."""
    import json

    body = json.dumps(decision_body()).encode()
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.split("content-length: ")[1].split("\r\n")[0])
            await reader.readexactly(length)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
    writer.close()
