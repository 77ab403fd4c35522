"""What a decision knows of its episode.

    step n asks Redis -> past_of -> Past -> the decision -> kept_after -> step n + 1 finds it in Redis

Redis keeps one carry for each episode, after its highest step. Step n gets it if that step is before n, so
it knows the decisions before it that Redis knew. A step that comes after a later one starts afresh, and
leaves what is kept alone.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from service.decisions.schemas import HistoryNote
from service.redis_link import UNCONFIRMED


class Past(Struct, frozen=True, gc=False):
    """The carry that a decision is made with, b"" for nothing, and what is special about it."""

    carry: bytes = b""
    note: HistoryNote | None = None


NO_HISTORY: Final = Past()
"""For policies that remember nothing."""
FRESH: Final = Past(note="fresh")
UNAVAILABLE: Final = Past(note="unavailable")


class _Kept(Struct, frozen=True, array_like=True):
    """What Redis keeps of an episode. `is_whole`: whether every step before is in it."""

    feature_schema: str
    is_whole: bool
    carry: bytes


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Kept).decode


def kept_after(past: Past, step: int, feature_schema: str, carry: bytes) -> bytes:
    """What Redis is to keep after `step`, which was decided with `past` and left `carry`."""
    is_whole = past.note is None or (past.note == "fresh" and step == 0)
    return _encode(_Kept(feature_schema, is_whole, carry))


def past_of(reply: Any, step: int, feature_schema: str) -> Past:
    """What `step` may know, from what Redis said of its episode: the step after which the carry
    is, and what `kept_after` made; None and None if it knows nothing."""
    if reply is UNCONFIRMED:
        return UNAVAILABLE
    carried, body = reply
    if carried is None or int(carried) >= step:
        return FRESH
    kept = _decode(body)
    if kept.feature_schema != feature_schema:
        return FRESH
    is_whole = kept.is_whole and int(carried) == step - 1
    return Past(kept.carry, None if is_whole else "partial")
