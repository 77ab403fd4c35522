"""A file whose age says whether a process still turns its loop: liveness for one without HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from service.workers.pause import pause

_EVERY_S: Final = 1.0


async def beat(path: Path | None, stop: asyncio.Event) -> None:
    """Touches `path` every second until `stop` is set, whether or not Redis answers."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    while not stop.is_set():
        path.touch()  # noqa: ASYNC240 - takes microseconds, and on a hung disk the beat should stop
        await pause(stop, _EVERY_S)
