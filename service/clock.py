"""Wall-clock milliseconds for what is stored, and their RFC 3339 form for what is sent."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def now_ms() -> int:
    """Milliseconds since 1970 (UTC), of this server."""
    return time.time_ns() // 1_000_000


@lru_cache(maxsize=4096)
def _seconds(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def rfc3339(at_ms: int) -> str:
    """`2026-01-31T12:00:00.250Z`. The part to the second is cached: it repeats within a second."""
    seconds, ms = divmod(at_ms, 1000)
    return f"{_seconds(seconds)}.{ms:03d}Z"


def parse_ms(moment: str) -> int:
    """Milliseconds of an RFC 3339 time with a zone.

    Raises:
        ValueError: it is no such time, or has no zone.
    """
    parsed = datetime.fromisoformat(moment)
    if parsed.tzinfo is None:
        raise ValueError("the time has no zone")
    return (parsed - _EPOCH) // _MILLISECOND
