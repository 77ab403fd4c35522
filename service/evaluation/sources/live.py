"""The log of a running policy: what is archived, then what only Redis has yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from service.archive.logic import START, Event, StreamId
from service.archive.parts import newest_named, read_archive

_PAGE: Final = 1000


class Tail(Protocol):
    """The part of a log that Redis keeps."""

    def events(self, after: StreamId, count: int) -> list[Event]:
        """Up to `count` events that follow `after`, oldest first."""
        ...


class LiveLog:
    """Events of one policy up to now, oldest first, each once.

    The archiver goes on meanwhile: what it trims from Redis between two of our reads is in a part that it
    wrote before, so parts are looked for again where Redis may have a gap.
    """

    def __init__(self, folder: Path, tail: Tail) -> None:
        self.torn: list[Path] = []
        self._folder = folder
        self._tail = tail

    def __iter__(self) -> Iterator[Event]:
        self.torn = []
        after, is_behind = START, True
        while is_behind:
            newest = newest_named(self._folder)
            for event in self._archived(after):
                yield event
                after = event.stream_id
            for event in self._in_redis(after, newest):
                yield event
                after = event.stream_id
            is_behind = self._is_behind(after, newest)

    def _archived(self, after: StreamId) -> Iterator[Event]:
        archive = read_archive(self._folder)
        for event in archive:
            self._note(archive.torn)
            if event.stream_id > after:
                yield event
        self._note(archive.torn)

    def _note(self, torn: list[Path]) -> None:
        self.torn += [path for path in torn if path not in self.torn]

    def _in_redis(self, after: StreamId, newest: StreamId) -> Iterator[Event]:
        while events := self._tail.events(after, _PAGE):
            if self._is_behind(after, newest):
                return
            yield from events
            after = events[-1].stream_id

    def _is_behind(self, after: StreamId, newest: StreamId) -> bool:
        """Whether parts that came after `newest` may hold what follows `after`, and Redis does not any more.

        Asked after a page was read: what was trimmed before that is on disk by now.
        """
        if newest_named(self._folder) == newest:
            return False
        first = self._tail.events(START, 1)
        return not first or first[0].stream_id > after
