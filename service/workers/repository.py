"""Every Redis command of the processes themselves: who holds a role, and how full Redis is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from service.repository import LEASE_PREFIX, Script

_EXTEND: Final = Script.load("service.workers", "extend.lua")
_RELEASE: Final = Script.load("service.workers", "release.lua")


@dataclass(frozen=True, slots=True)
class Memory:
    """What Redis uses of what it may use; `limit_bytes` is 0 where nothing bounds it."""

    used_bytes: int
    limit_bytes: int


class LeaseRepository:
    """One string per role: its value names the holder, its expiry ends the lease."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def take(self, role: str, token: str, duration_ms: int) -> bool:
        """Whether the role was free and is ours now."""
        return bool(await self._client.set(LEASE_PREFIX + role, token, nx=True, px=duration_ms))

    async def extend(self, role: str, token: str, duration_ms: int) -> bool:
        """Whether the role is still ours, now for `duration_ms` from now."""
        return bool(
            await self._client.eval(_EXTEND.text, 1, LEASE_PREFIX + role, token, duration_ms)
        )

    async def release(self, role: str, token: str) -> None:
        """Frees the role if it is still ours."""
        await self._client.eval(_RELEASE.text, 1, LEASE_PREFIX + role, token)


class ServerRepository:
    """What Redis says about itself."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def memory(self) -> Memory:
        info = await self._client.info("memory")
        return Memory(int(info["used_memory"]), int(info.get("maxmemory", 0)))
