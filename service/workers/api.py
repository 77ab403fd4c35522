"""The API process: uvicorn around the front door."""

from __future__ import annotations

import asyncio

import structlog
import torch
import uvicorn
from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.app import create_app
from service.redis_server import RedisServerError, verify
from service.settings import Settings

log = structlog.get_logger(__name__)


def run_api(settings: Settings) -> int:
    """Serves until a signal; returns the exit code."""
    torch.set_num_threads(1)
    refusal = asyncio.run(_refusal(settings))
    if refusal:
        log.error("redis_refused", reason=refusal)
        return 1
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings),
            host=settings.host,
            port=settings.port,
            loop="uvloop",
            http="httptools",
            access_log=False,
            log_level="warning",
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=5,
        )
    )
    server.run()
    return 0


async def _refusal(settings: Settings) -> str | None:
    """Why this Redis must not be used, or None. A Redis that is away is waited for, not refused."""
    async with Redis.from_url(
        settings.redis_url, socket_timeout=2.0, socket_connect_timeout=2.0
    ) as client:
        try:
            await verify(client)
        except (RedisError, OSError) as error:
            log.warning("redis_unreachable_at_start", error=str(error))
        except RedisServerError as error:
            return str(error)
    return None
