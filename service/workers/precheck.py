"""What every long-lived process asks of Redis before it works."""

from __future__ import annotations

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.redis_server import RedisServerError, verify

log = structlog.get_logger(__name__)


async def redis_is_fit(url: str) -> bool:
    """False, and told in the log, when this Redis must not be used. One that is away is waited for,
    not refused."""
    async with Redis.from_url(url, socket_timeout=2.0, socket_connect_timeout=2.0) as client:
        try:
            await verify(client)
        except (RedisError, OSError) as error:
            log.warning("redis_unreachable_at_start", error=str(error))
        except RedisServerError as error:
            log.error("redis_refused", reason=str(error))
            return False
    return True
