"""The real application in this process, on a real Redis, behind an httpx transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from service.app import create_app
from service.settings import Settings


def settings_for(redis_url: str, folder: Path, **changes: Any) -> Settings:
    """Settings of a server whose files lie in `folder`."""
    places = {name: folder / name for name in ("artefacts", "archive", "checkpoints", "state")}
    quick = {"poll_s": 0.05, "confirm_timeout_s": 0.5}
    return Settings.model_validate({"REDIS_URL": redis_url, **places, **quick, **changes})


@asynccontextmanager
async def running_api(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application; its lifespan has started and ends with the block."""
    app = create_app(settings)
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outbox: asyncio.Queue[Any] = asyncio.Queue()
    life = asyncio.create_task(
        app({"type": "lifespan", "asgi": {}, "state": {}}, inbox.get, outbox.put)
    )
    await inbox.put({"type": "lifespan.startup"})
    started = await outbox.get()
    assert started["type"] == "lifespan.startup.complete", started
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://nacre") as client:
            yield client
    finally:
        await inbox.put({"type": "lifespan.shutdown"})
        stopped = await outbox.get()
        await life
        assert stopped["type"] == "lifespan.shutdown.complete", stopped
