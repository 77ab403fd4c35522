"""Every Redis command of the archive: read the log, and forget what is safe on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis

from service.archive.logic import Event, StreamId, event_of
from service.repository import PolicyKeys, Script

_TRIM_REPLAY: Final = Script.load("service.archive", "trim_replay.lua")
_PAGE: Final = 1000
"""Events a read: about 2 MB, a pause of 10 ms for everyone else in the process."""


class ArchiveRepository:
    """Reads and trims. XTRIM works even while Redis refuses every write because it is full."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def lengths(self, policies: Sequence[PolicyKeys]) -> list[int]:
        """How many events the log of each policy holds."""
        async with self._client.pipeline(transaction=False) as pipe:
            for keys in policies:
                pipe.xlen(keys.log)
            return await pipe.execute()

    async def events(self, keys: PolicyKeys, after: StreamId, count: int) -> list[Event]:
        """Up to `count` events that follow `after`, oldest first."""
        found: list[Event] = []
        while len(found) < count:
            page = min(_PAGE, count - len(found))
            entries: Any = await self._client.xrange(keys.log, min=f"({after}", count=page)
            found += [event_of(stream_id, fields) for stream_id, fields in entries]
            if len(entries) < page:
                break
            after = found[-1].stream_id
        return found

    async def newest_ids(self, keys: PolicyKeys, until: StreamId, count: int) -> list[StreamId]:
        """Ids of the newest `count` events up to `until`, oldest first."""
        found: list[StreamId] = []
        end = str(until)
        while len(found) < count:
            page = min(_PAGE, count - len(found))
            entries: Any = await self._client.xrevrange(keys.log, max=end, count=page)
            found += [StreamId.parse(stream_id.decode()) for stream_id, _ in entries]
            if len(entries) < page:
                break
            end = f"({found[-1]}"
        return found[::-1]

    async def trim_log(self, keys: PolicyKeys, first: StreamId) -> None:
        """Forgets the events before `first`."""
        await self._client.xtrim(keys.log, minid=str(first), approximate=False)

    async def trim_replay(
        self, keys: PolicyKeys, limit: int, learned: StreamId
    ) -> tuple[int, bool]:
        """Forgets up to a page of the oldest transitions beyond `limit`.

        Returns how many of them the learner, which is at `learned`, will never see, and whether there
        are more to forget.
        """
        reply: Any = await self._client.eval(
            _TRIM_REPLAY.text, 2, keys.replay, keys.counts, limit, learned.ms, learned.number, _PAGE
        )
        return int(reply[1]), int(reply[0]) == _PAGE
