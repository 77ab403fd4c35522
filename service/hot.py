"""What the front door hands to a hot endpoint, and what it takes back.

The small values of the hot path are msgspec structs: making a frozen dataclass of eight fields costs
0.6 us, a struct 0.05 us, and a request makes a handful.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from msgspec import Struct

from service.errors import ServiceError
from service.redis_link import LinkReplyError
from service.security import Principal

Headers = tuple[tuple[bytes, bytes], ...]
SPOOLED = (b"nacre-durability", b"spooled")
"""Redis has not confirmed; the write is in this server's spool and will be delivered."""
UNKNOWN_OWNER = (
    "only Redis knows whose decision it is, and it does not answer; name the policy, or retry"
)
MEMORY_LIMIT = "Redis is at its memory limit; retry later"


class HotRequest(Struct, frozen=True, gc=False):
    """One request: body complete, size checked, caller known."""

    body: bytes
    media: Literal["json", "msgpack"]
    principal: Principal
    idempotency_key: str | None


class Answer(Struct, frozen=True, gc=False):
    """Status, JSON body and extra headers."""

    status: int
    body: bytes
    headers: Headers = ()


async def confirmed(reply: asyncio.Future[Any]) -> Any:
    """The reply of Redis, or UNCONFIRMED.

    Raises:
        ServiceError: Redis refused the write for now; nothing was stored.
    """
    try:
        return await reply
    except LinkReplyError as error:
        if "OOM" in str(error):
            raise ServiceError("RedisFull", MEMORY_LIMIT) from error
        raise ServiceError("RedisUnavailable", "Redis refused the write; retry later") from error
