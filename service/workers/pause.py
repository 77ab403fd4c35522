"""Waiting that ends early when the process is asked to stop."""

from __future__ import annotations

import asyncio


async def pause(stop: asyncio.Event, duration_s: float) -> None:
    """Returns after `duration_s`, or at once when `stop` is set."""
    try:
        await asyncio.wait_for(stop.wait(), duration_s)
    except TimeoutError:
        return
