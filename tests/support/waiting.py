"""Waiting for something that happens elsewhere, without a fixed sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(holds: Callable[[], Awaitable[bool]], timeout_s: float = 5.0) -> None:
    """Returns once `holds()` is true.

    Raises:
        TimeoutError: it was not within `timeout_s`.
    """
    async with asyncio.timeout(timeout_s):
        while not await holds():  # noqa: ASYNC110  # another process or server changes it: no event to wait for
            await asyncio.sleep(0.01)
