"""A policy in a real Redis whose log the test writes, and the worker's part of watching it.

stage = Stage(redis_client, bandit(trips={...}))
await stage.register()
await stage.write(outcomes([1.0] * 100))
await stage.turn()                              # what the worker does every moment
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis

from service.clock import rfc3339
from service.following.follower import Follower
from service.following.observer import LogEvent
from service.following.repository import FollowingRepository
from service.joining.joiner import Watched
from service.monitoring.judge import AlarmChange
from service.monitoring.observer import NAME, Monitors
from service.monitoring.references import MAKING
from service.monitoring.repository import MonitoringRepository
from service.monitoring.schemas import MonitoringView
from service.policies.config import PolicyConfig, parse_policy
from service.policies.head import Trip, read_trip
from service.policies.repository import PolicyMeta, PolicyRepository, VersionDescription
from service.policies.schemas import PolicyEvent
from service.repository import PolicyKeys
from tests.support.log_events import START_MS


class Stage:
    """One policy, with a clock that only the test moves. `told`: what was announced."""

    def __init__(self, client: Redis, document: Mapping[str, Any]) -> None:
        self.client = client
        self.config: PolicyConfig = parse_policy(document)
        self.keys = PolicyKeys(self.config.policy)
        self.policies = PolicyRepository(client)
        self.monitoring = MonitoringRepository(client)
        self.now_ms = START_MS
        self.told: list[tuple[str, str, Mapping[str, Any]]] = []
        self.follower = self.new_worker()
        self._written = 0
        self._last_ms = 0

    def new_worker(self) -> Follower:
        """A worker that knows only what Redis keeps."""
        monitors = Monitors(self.client, lambda *one: self.told.append(one))
        return Follower(FollowingRepository(self.client), {NAME: monitors.open})

    async def register(self) -> None:
        """The policy, in a new version line, with versions 1 and 2; 2 is live."""
        body = msgspec.json.encode(self.config.model_dump(mode="json"))
        event = PolicyEvent(what="created", who="test", why="", at="")
        await self.policies.put_config(
            self.keys, body, self.config.config_hash, event=event, new_lineage=True
        )
        for _ in range(2):
            await self._publish()

    async def _publish(self) -> None:
        version = await self.policies.next_version(self.keys)
        description = VersionDescription(
            version=version,
            parent=version - 1,
            made_at=rfc3339(self.now_ms),
            config_hash=self.config.config_hash,
            feature_schema=self.config.agent.feature_schema,
            experience=0,
            updates=0,
        )
        await self.policies.publish(self.keys, description, promote=True)

    async def write(self, events: Sequence[LogEvent]) -> None:
        """Appends to the log, and to what a decision is looked up in."""
        async with self.client.pipeline(transaction=False) as pipe:
            for event in events:
                self._written += 1
                fields: dict[Any, Any] = {"t": event.type, "d": event.decision_id, "b": event.body}
                pipe.xadd(
                    self.keys.log, fields, id=f"{self._next_ms(event)}-{1000 * self._written}"
                )
                if event.type == "decision":
                    pipe.hset(self.keys.decision_prefix + event.decision_id, "b", event.body)
            await pipe.execute()

    def _next_ms(self, event: LogEvent) -> int:
        """Stream ids only grow: an event that is older than the last is logged at the same time as it."""
        self._last_ms = max(self._last_ms, event.stream_id.ms)
        return self._last_ms

    async def turn(self, later_ms: int = 1_000) -> Trip | None:
        """What the worker does until it has read the whole log, and then once more; the trip after it.

        A reference that is being made is waited for, and taken.
        """
        self.now_ms += later_ms
        while await self.follower.follow(await self.watched(), self.now_ms):
            self.now_ms += 1_000
        making = [task for task in asyncio.all_tasks() if task.get_name() == MAKING]
        if making:
            await asyncio.wait(making)
            return await self.turn()
        return await self.trip()

    async def feed(self, events: Sequence[LogEvent]) -> Trip | None:
        """Writes a hundred at a time, with a turn after each."""
        for at in range(0, len(events), 100):
            await self.write(events[at : at + 100])
            await self.turn()
        return await self.trip()

    async def watched(self) -> Watched:
        quarantined = await self.policies.quarantined(self.keys)
        return Watched(self.keys, self.config, await self.meta(), quarantined)

    async def meta(self) -> PolicyMeta:
        meta = await self.policies.meta(self.keys)
        assert meta is not None
        return meta

    async def trip(self) -> Trip | None:
        return read_trip((await self.meta()).trip)

    async def view(self) -> MonitoringView:
        view = await self.monitoring.view(self.keys)
        assert view is not None
        return view

    async def levels(self) -> dict[str, str]:
        """Signals that are alarmed, as the worker last told."""
        return {one.signal: one.level for one in (await self.view()).alarms if one.level}

    async def changes(self) -> list[AlarmChange]:
        """Oldest first."""
        return (await self.monitoring.alarms(self.keys, 1_000))[::-1]

    def events(self) -> list[str]:
        """What was announced, by kind."""
        return [kind for kind, _, _ in self.told]
