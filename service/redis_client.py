"""The ordinary Redis client of the API. What goes wrong with it is always a RedisError or an OSError.

The writes of the hot path have a connection of their own: `service.redis_link`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostError

T = TypeVar("T")


def open_client(url: str, *, socket_timeout_s: float | None) -> Redis:
    """A client that decodes nothing, and gives up after one more attempt; None waits for ever."""
    return Redis.from_url(
        url,
        socket_timeout=socket_timeout_s,
        socket_connect_timeout=2.0,
        retry=_OnceMore(NoBackoff(), 1),
    )


class _OnceMore(Retry):
    """Tries again on a new connection.

    A closed transport of uvloop answers a write with RuntimeError, where asyncio's would wait for the
    connection's end to be told: without this, a reset connection were a defect of ours to every caller.
    """

    async def call_with_retry(
        self, do: Callable[[], Awaitable[T]], fail: Callable[..., Any], *args: Any, **options: Any
    ) -> T:
        async def attempt() -> T:
            try:
                return await do()
            except RuntimeError as error:
                raise LostError(str(error)) from error

        return await super().call_with_retry(attempt, fail, *args, **options)
