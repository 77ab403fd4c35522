"""Real Redis servers for tests: one a test run shares, and ones a test may kill.

The fixtures are made available everywhere by `tests/conftest.py`:

    def test_...(redis_url: str)            an emptied database of the shared server
    async def test_...(redis_client: Redis) the same, as a client that decodes nothing
    def test_...(start_redis: StartRedis)   `server = start_redis()`; `kill(server)`; `server.restart()`
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from service.redis_server import PrivateRedis
from tests.support.processes import wait_until

StartRedis = Callable[..., PrivateRedis]


def kill(server: PrivateRedis) -> None:
    """Ends `server` as a crash does, and returns when it is gone."""
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: server.exit_code is not None, what="the killed Redis to be gone")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRedis]:
    """The server that all tests of this pytest process share. Do not kill it: see `start_redis`."""
    with PrivateRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: PrivateRedis) -> str:
    """URL of the shared server, emptied: keys, scripts and consumer groups."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        client.script_flush()
    return redis_server.url


@pytest.fixture
async def redis_client(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """A client of the emptied shared server; replies are bytes."""
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[StartRedis]:
    """Starts servers of the test's own; takes what `PrivateRedis` takes, `directory` by default a new one."""
    with ExitStack() as servers:

        def start(directory: Path | None = None, **options: Any) -> PrivateRedis:
            place = directory or tmp_path / f"redis-{len(list(tmp_path.glob('redis-*')))}"
            return servers.enter_context(PrivateRedis(place, **options))

        yield start
