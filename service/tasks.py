"""Ending background tasks for certain."""

from __future__ import annotations

import asyncio
from typing import Any, Final

_AGAIN_S: Final = 0.1


async def end(task: asyncio.Task[Any]) -> None:
    """Cancels `task` and returns when it has ended, whatever it ended with.

    Asked once is not enough: a cancellation that meets a timeout inside redis-py, or `wait_for` of Python
    3.11 just when its future completes, is swallowed, and the task would run on for ever.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_AGAIN_S)
    if not task.cancelled():
        task.exception()  # read, so that nobody warns that it was not
