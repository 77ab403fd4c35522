"""At most one process works in a role; another takes over within the lease's duration.

    lease = Lease(LeaseRepository(client), "worker", duration_s=5.0)
    while await lease.wait(stop):
        async with lease.kept():
            while lease.is_held and not stop.is_set():
                ...                     one short piece of work

The holder counts its own time on the monotonic clock, from before it asked, and stops working a fifth
of the duration early: Redis cannot give the role away while the piece of work in hand still runs. A
process that is suspended in the middle of one is what the compare-and-set of every write is for.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog
from redis.exceptions import RedisError

from service.tasks import end
from service.workers.pause import pause
from service.workers.repository import LeaseRepository

log = structlog.get_logger(__name__)

_USABLE: Final = 0.8
_ATTEMPTS: Final = 5
"""Tries to take or to renew per duration: a role that falls free is taken within a fifth of it."""

_Ask = Callable[[str, str, int], Awaitable[bool]]


class Lease:
    """One role, held or waited for."""

    def __init__(self, repository: LeaseRepository, role: str, *, duration_s: float) -> None:
        self._repository = repository
        self._role = role
        self._duration_s = duration_s
        self._token = secrets.token_hex(8)
        self._held_until = 0.0

    @property
    def is_held(self) -> bool:
        """Whether work may begin now. False also while Redis is silent for too long."""
        return time.monotonic() < self._held_until

    async def wait(self, stop: asyncio.Event) -> bool:
        """True once the role is ours; False when `stop` is set first."""
        while not stop.is_set():
            if await self._try(self._repository.take):
                log.info("lease_taken", role=self._role)
                return True
            await pause(stop, self._duration_s / _ATTEMPTS)
        return False

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renews the lease in the background, and gives the role back at the end."""
        keeper = asyncio.create_task(self._renew())
        try:
            yield
        finally:
            await end(keeper)
            await self._release()

    async def _renew(self) -> None:
        while self.is_held:
            await asyncio.sleep(self._duration_s / _ATTEMPTS)
            await self._try(self._repository.extend)
        log.warning("lease_lost", role=self._role, action="stopped working until it is ours again")

    async def _try(self, ask: _Ask) -> bool:
        """Whether Redis granted it. Silence is not a refusal: what was granted before still runs."""
        asked_at = time.monotonic()
        try:
            granted = await ask(self._role, self._token, int(self._duration_s * 1000))
        except (RedisError, OSError):
            return False
        self._held_until = asked_at + _USABLE * self._duration_s if granted else 0.0
        return granted

    async def _release(self) -> None:
        self._held_until = 0.0
        try:
            await self._repository.release(self._role, self._token)
        except (RedisError, OSError):
            log.info("lease_not_released", role=self._role, action="it expires by itself")
