"""Every Redis command that reads the replay stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from service.repository import PolicyKeys, text

START: Final = "0-0"
"""The position before the first entry."""

_APPENDED: Final = ("rewarded", "defaulted", "transitions")
"""Fields of `counts` that grow by one with every append to the replay stream, in the same script."""


@dataclass(frozen=True, slots=True)
class Block:
    """The entries after a position, and two counts taken at the same moment.

    `ids`, `data`: of each entry its stream id and the encoded transition (see `service.replay.codec`).
    `appended`: entries that the stream ever got. `trimmed`: how many of them, the oldest, are gone.
    """

    ids: list[str]
    data: list[bytes]
    appended: int
    trimmed: int


class ReplayRepository:
    """Reads through an ordinary client whose socket timeout is longer than any `wait_s` given here."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def after(self, keys: PolicyKeys, position: str, limit: int) -> Block:
        """Up to `limit` entries that follow `position`, oldest first."""
        async with self._client.pipeline(transaction=True) as pipe:
            # Replies as they are: a dictionary for each entry would be a third of the time of reading.
            pipe.response_callbacks = {}
            pipe.xrange(keys.replay, min=f"({position}", count=limit)
            pipe.xlen(keys.replay)
            pipe.hmget(keys.counts, _APPENDED)
            entries, length, counts = await pipe.execute()
        appended = _appended(length, counts)
        ids = [text(one) for one, _ in entries]
        return Block(ids, [_data(fields) for _, fields in entries], appended, appended - length)

    async def end(self, keys: PolicyKeys) -> tuple[str, int]:
        """The id of the newest entry (START if there is none), and how many there were up to it."""
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.xrevrange(keys.replay, count=1)
            pipe.xlen(keys.replay)
            pipe.hmget(keys.counts, _APPENDED)
            newest, length, counts = await pipe.execute()
        return text(newest[0][0]) if newest else START, _appended(length, counts)

    async def wait(self, keys: PolicyKeys, position: str, wait_s: float) -> bool:
        """Whether something follows `position`; returns as soon as it does, or after `wait_s`."""
        # BLOCK 0 would wait for ever.
        block_ms = max(1, int(wait_s * 1000))
        return bool(await self._client.xread({keys.replay: position}, count=1, block=block_ms))


def _appended(length: int, counts: Sequence[bytes | None]) -> int:
    # An operator may have reset the counts; the stream itself is then the better witness.
    return max(length, sum(int(count or 0) for count in counts))


def _data(fields: Sequence[bytes]) -> bytes:
    """An entry of another form is read as empty, which the codec refuses and the learner counts."""
    return fields[1] if fields[0] == b"b" else b""
