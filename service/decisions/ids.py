"""Decision ids that the server makes: unique, sortable by time, cheap."""

from __future__ import annotations

import itertools
import secrets
import time

_PROCESS = secrets.token_hex(5)
_COUNTER = itertools.count()


def new_id() -> str:
    """26 hex digits: 11 of milliseconds, 10 of this process, 5 of a counter."""
    return f"{time.time_ns() // 1_000_000:011x}{_PROCESS}{next(_COUNTER) & 0xFFFFF:05x}"
