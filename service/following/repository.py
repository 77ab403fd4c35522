"""Every Redis command of following: read the log, and keep how far it was read with what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from redis.asyncio import Redis

from service.archive.logic import START, StreamId
from service.following.observer import LogEvent
from service.repository import PolicyKeys, raw, text

_POSITION: Final = "position"
_STATE: Final = "state:"


class FollowingRepository:
    """The log is trimmed behind the archive, not behind who follows: the newest events are always there."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def load(self, keys: PolicyKeys) -> tuple[StreamId, dict[str, bytes]]:
        """The last event that was taken in, and the states of observers by name."""
        fields = await self._client.hgetall(keys.following)
        states = {text(name): raw(value) for name, value in fields.items()}
        position = states.pop(_POSITION, b"")
        after = StreamId.parse(position.decode()) if position else START
        return after, {name.removeprefix(_STATE): state for name, state in states.items()}

    async def save(self, keys: PolicyKeys, position: StreamId, states: Mapping[str, bytes]) -> None:
        """Keeps both in one command, so that no event counts twice."""
        fields: dict[Any, Any] = {f"{_STATE}{name}": one for name, one in states.items()}
        await self._client.hset(keys.following, mapping={_POSITION: str(position), **fields})

    async def events(
        self, keys: PolicyKeys, after: StreamId, count: int
    ) -> tuple[list[LogEvent], bool]:
        """Up to `count` events after `after`, oldest first, and whether some in between are gone."""
        entries: Any = await self._client.xrange(keys.log, min=str(after), count=count + 1)
        is_there = bool(entries) and entries[0][0].decode() == str(after)
        found = [
            LogEvent(
                StreamId.parse(stream_id.decode()),
                fields[b"t"].decode(),
                fields[b"d"].decode(),
                fields[b"b"],
            )
            for stream_id, fields in entries[is_there:][:count]
        ]
        return found, bool(found) and not is_there and after != START

    async def length(self, keys: PolicyKeys) -> int:
        """How many events the log holds."""
        return int(await self._client.xlen(keys.log))
