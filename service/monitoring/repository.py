"""Every Redis command of watching: references, judged windows, alarms, and how it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from service.monitoring.judge import AlarmChange
from service.monitoring.packing import Packed
from service.monitoring.schemas import MonitoringView, WindowView
from service.monitoring.windows import PackedWindow
from service.repository import PolicyKeys, text

_ALARMS: Final = 1_000
_KEPT_LINES: Final = 2
"""References of that many version lines stay: the one that counts, and the one before it to look at."""
_encode = msgspec.json.Encoder().encode
_change = msgspec.json.Decoder(AlarmChange).decode
_window = msgspec.json.Decoder(WindowView).decode
_view = msgspec.json.Decoder(MonitoringView).decode
_pack = msgspec.msgpack.Encoder().encode
_packed_window = msgspec.msgpack.Decoder(PackedWindow).decode
_packed = msgspec.msgpack.Decoder(Packed).decode


class StoredReference(msgspec.Struct, frozen=True):
    """The frozen parts that there are."""

    outcomes: PackedWindow | None
    decisions: PackedWindow | None
    states: Packed | None


class MonitoringRepository:
    """Reads and writes through an ordinary client. Every write may be done twice."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    # -- references -------------------------------------------------------------------------------

    async def reference(self, keys: PolicyKeys, lineage: int, parts: str) -> StoredReference:
        """What windows of a version line are compared with. `parts`: what rewards are made of now.

        Raises:
            msgspec.MsgspecError: another version of this program wrote it.
        """
        fields: Any = await self._client.hgetall(_reference(keys, lineage))
        named: dict[str, bytes] = {text(name): value for name, value in fields.items()}
        outcomes, decisions, states = map(named.get, (outcomes_name(parts), "decisions", "states"))
        return StoredReference(
            None if outcomes is None else _packed_window(outcomes),
            None if decisions is None else _packed_window(decisions),
            None if states is None else _packed(states),
        )

    async def freeze(
        self, keys: PolicyKeys, lineage: int, name: str, part: PackedWindow | Packed
    ) -> None:
        """Keeps one part of the reference, unless it is there already."""
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.hsetnx(_reference(keys, lineage), name, _pack(part))
            pipe.delete(_reference(keys, lineage - _KEPT_LINES))
            if name == "states":
                pipe.delete(_rows(keys, lineage))
            await pipe.execute()

    async def forget_reference(self, keys: PolicyKeys, lineage: int) -> None:
        """The next windows make another one."""
        await self._client.delete(_reference(keys, lineage), _rows(keys, lineage))

    async def forget_rows(self, keys: PolicyKeys, lineage: int) -> None:
        """Drops the observations that were put aside."""
        await self._client.delete(_rows(keys, lineage))

    async def ask_to_forget(self, keys: PolicyKeys, event: Any) -> None:
        """Tells the worker, by the log, that another reference is wanted."""
        body = _encode(event)
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.xadd(keys.audit, {"b": body})
            pipe.xadd(keys.log, {"t": "monitoring", "d": "", "b": body})
            await pipe.execute()

    async def keep_rows(
        self, keys: PolicyKeys, lineage: int, rows: Mapping[str, bytes], expire_ms: int
    ) -> int:
        """Puts observations by their decision aside for the reference; returns how many there are."""
        name = _rows(keys, lineage)
        fields: dict[Any, Any] = dict(rows)
        async with self._client.pipeline(transaction=True) as pipe:
            if rows:
                pipe.hset(name, mapping=fields)
                pipe.pexpire(name, expire_ms)
            pipe.hlen(name)
            *_, count = await pipe.execute()
        return int(count)

    async def rows(self, keys: PolicyKeys, lineage: int) -> list[bytes]:
        """The observations that were put aside, in the order of their decisions' ids."""
        fields: Any = await self._client.hgetall(_rows(keys, lineage))
        return [fields[name] for name in sorted(fields)]

    # -- what was seen ----------------------------------------------------------------------------

    async def report(
        self,
        keys: PolicyKeys,
        view: MonitoringView,
        windows: Sequence[WindowView],
        changes: Sequence[AlarmChange],
        kept: int,
    ) -> None:
        """Keeps how watching stands, and adds what was judged and what changed. `kept`: windows that stay."""
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.set(keys.monitoring, _encode(view))
            for window in windows:
                pipe.xadd(keys.windows, {"b": _encode(window)}, maxlen=kept, approximate=False)
            for change in changes:
                pipe.xadd(keys.alarms, {"b": _encode(change)}, maxlen=_ALARMS, approximate=True)
            await pipe.execute()

    async def view(self, keys: PolicyKeys) -> MonitoringView | None:
        """How watching stands; None before the worker saw anything."""
        body = await self._client.get(keys.monitoring)
        return None if body is None else _view(body)

    async def windows(self, keys: PolicyKeys, count: int) -> list[WindowView]:
        """The newest windows, newest first."""
        entries: Any = await self._client.xrevrange(keys.windows, count=count)
        return [_window(fields[b"b"]) for _, fields in entries]

    async def alarms(self, keys: PolicyKeys, count: int) -> list[AlarmChange]:
        """The newest changes of alarms, newest first."""
        entries: Any = await self._client.xrevrange(keys.alarms, count=count)
        return [_change(fields[b"b"]) for _, fields in entries]

    async def records(self, keys: PolicyKeys, ids: Sequence[str]) -> list[bytes | None]:
        """The records of decisions; None where one is gone."""
        async with self._client.pipeline(transaction=False) as pipe:
            for decision_id in ids:
                pipe.hget(keys.decision_prefix + decision_id, "b")
            return await pipe.execute()


def outcomes_name(parts: str) -> str:
    """The reference of outcomes is one for each set of parts."""
    return f"outcomes:{parts}"


def _reference(keys: PolicyKeys, lineage: int) -> str:
    return f"{keys.reference_prefix}{lineage}"


def _rows(keys: PolicyKeys, lineage: int) -> str:
    return f"{keys.reference_prefix}{lineage}:rows"
