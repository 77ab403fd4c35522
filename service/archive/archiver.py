"""Copies the log to disk and forgets in Redis what is safe there, so that Redis stays small.

    read what is new -> write a part, synced -> trim Redis        in this order, so nothing is ever lost

How far it got is read from the parts themselves, not from Redis: recording it there would fail when
Redis is full, which is when trimming matters most. A crash between two steps only means that a step
is done again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from service import metrics
from service.archive.logic import Event, StreamId
from service.archive.parts import (
    Part,
    TornPartError,
    clear_unfinished,
    last_archived,
    merge_parts,
    newest_named,
    write_part,
)
from service.archive.repository import ArchiveRepository
from service.repository import PolicyKeys

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Log:
    """How far the log of one policy is archived.

    `after`: up to there everything is on disk. `newest`: the end of the newest part by its name, even if
    it cannot be read. `kept`: archived events that are still in Redis. `recent`: parts of ours that may
    still be merged, with their numbers of events.
    """

    folder: Path
    after: StreamId
    newest: StreamId
    kept: deque[StreamId]
    archived_s: float = 0.0
    recent: list[tuple[Part, int]] = field(default_factory=list)


class Archiver:
    """Archives the logs of all policies. Make a new one whenever the worker's lease is taken."""

    def __init__(
        self, repository: ArchiveRepository, root: Path, *, part_events: int, every_s: float
    ) -> None:
        self._repository = repository
        self._root = root
        self._part_events = part_events
        self._every_s = every_s
        self._logs: dict[str, _Log] = {}

    async def archive(self, keys: PolicyKeys, keep: int, length: int) -> int:
        """Archives the log of one policy, `length` events long, if enough waits or for long enough.

        `keep`: how many archived events stay in Redis. Returns how many events were archived.

        Raises:
            OSError: the disk is full or not there; Redis keeps everything.
            RedisError: Redis does not answer; what is on disk is found again.
        """
        state = self._logs.get(keys.policy) or await self._open(keys, keep)
        waiting, now_s = length - len(state.kept), time.monotonic()
        is_time = waiting > 0 and now_s - state.archived_s >= self._every_s
        if not is_time and waiting < self._part_events:
            return 0
        if state.kept.maxlen != keep:
            state.kept = deque(state.kept, maxlen=keep)
        state.archived_s = now_s
        return await self._drain(keys, state)

    async def _drain(self, keys: PolicyKeys, state: _Log) -> int:
        archived = 0
        while True:
            events = await self._repository.events(keys, state.after, self._part_events)
            if newest_named(state.folder) != state.newest:
                # Another worker archives, too: it may have trimmed some events between our reads.
                log.warning("archive_shared", policy=keys.policy, action="starting over")
                del self._logs[keys.policy]
                return archived
            if events:
                await self._store(keys, state, events)
            archived += len(events)
            if len(events) < self._part_events:
                return archived

    async def _open(self, keys: PolicyKeys, keep: int) -> _Log:
        folder = self._root / keys.policy
        await asyncio.to_thread(clear_unfinished, folder)
        newest = newest_named(folder)
        after = await asyncio.to_thread(last_archived, folder)
        kept = await self._repository.newest_ids(keys, after, keep)
        self._logs[keys.policy] = state = _Log(folder, after, newest, deque(kept, maxlen=keep))
        return state

    async def _store(self, keys: PolicyKeys, state: _Log, events: list[Event]) -> None:
        part = await asyncio.to_thread(write_part, state.folder, events)
        state.after = part.last
        state.newest = max(state.newest, part.last)
        state.kept.extend(event.stream_id for event in events)
        state.recent.append((part, len(events)))
        metrics.ARCHIVED.labels(keys.policy).inc(len(events))
        await self._repository.trim_log(keys, state.kept[0])
        await asyncio.to_thread(self._merge, state)

    def _merge(self, state: _Log) -> None:
        """Keeps parts few where events are rare: a part joins the one before once it is half as large.

        Like a binary counter, so an event is written again about log2(part_events) times at most.
        """
        while len(state.recent) > 1:
            (earlier, before), (later, after) = state.recent[-2:]
            if before > 2 * after or before + after > self._part_events:
                return
            try:
                merged = merge_parts(state.folder, (earlier, later))
            except (OSError, TornPartError) as error:
                log.warning("parts_not_merged", error=str(error), action="both are kept")
                state.recent = state.recent[-1:]
                return
            state.recent[-2:] = [(merged, before + after)]
