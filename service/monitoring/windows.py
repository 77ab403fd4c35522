"""Windows over what arrives: sums of the rows that fill one, closed by their number or by time.

    series.add(rows)            to the open window; a full one is closed, and the next begins
    series.closed               those that nobody has judged yet, oldest first

Time is that of the rows, so that the same rows make the same windows whenever they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from service.monitoring.packing import Packed, Sums, arrays, packed


class Timed(Protocol):
    """A row of a window. `at_ms`: when the log took it in."""

    @property
    def at_ms(self) -> int: ...


Row = TypeVar("Row", bound=Timed)
SumsOf = Callable[[Sequence[Row]], dict[str, Sums]]


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """`count` rows from `began_ms` to `ended_ms`, and their sums by name; some may have had nothing to sum."""

    count: int
    began_ms: int
    ended_ms: int
    sums: Mapping[str, Any]

    def merged(self, later: Window) -> Window:
        """Of both parts."""
        names = self.sums.keys() | later.sums.keys()
        sums = {name: _merged(self.sums.get(name), later.sums.get(name)) for name in sorted(names)}
        return Window(self.count + later.count, self.began_ms, later.ended_ms, sums)


class PackedWindow(msgspec.Struct, frozen=True, array_like=True):
    """A window as bytes."""

    count: int
    began_ms: int
    ended_ms: int
    sums: dict[str, Packed]

    @classmethod
    def of(cls, window: Window) -> PackedWindow:
        sums = {name: packed(one) for name, one in window.sums.items()}
        return cls(window.count, window.began_ms, window.ended_ms, sums)

    def window(self, kinds: Mapping[str, Any]) -> Window:
        """`kinds`: the class of each sum.

        Raises:
            KeyError, ValueError: it was kept by another version of this program.
        """
        sums = {name: kinds[name].from_arrays(arrays(one)) for name, one in self.sums.items()}
        return Window(self.count, self.began_ms, self.ended_ms, sums)


class PackedSeries(msgspec.Struct, frozen=True, array_like=True):
    """A series as bytes."""

    open: PackedWindow | None
    closed: list[PackedWindow]


@dataclass(slots=True)
class Series(Generic[Row]):
    """`size`: rows of a full window. `duration_ms`: after which one is closed that has `least` rows; None waits
    for all of them."""

    size: int
    duration_ms: int | None
    least: int
    sums_of: SumsOf[Row]
    open: Window | None = None
    closed: list[Window] = field(default_factory=list)

    def add(self, rows: Sequence[Row]) -> None:
        """Takes in rows, oldest first."""
        while rows:
            if self._is_over(rows[0].at_ms):
                self._close()
            fits = self._fitting(rows)
            part = rows[:fits]
            fresh = Window(len(part), part[0].at_ms, part[-1].at_ms, self.sums_of(part))
            self.open = self.open.merged(fresh) if self.open else fresh
            if self.open.count == self.size:
                self._close()
            rows = rows[fits:]

    def begin_anew(self) -> None:
        """Forgets the open window and those that wait: they are of a time that is over."""
        self.open, self.closed = None, []

    def _is_over(self, at_ms: int) -> bool:
        if self.open is None or self.duration_ms is None or self.open.count < self.least:
            return False
        return at_ms >= self.open.began_ms + self.duration_ms

    def _fitting(self, rows: Sequence[Row]) -> int:
        """How many of `rows` belong to the open window; one at least."""
        count, began_ms = (self.open.count, self.open.began_ms) if self.open else (0, rows[0].at_ms)
        room = min(self.size - count, len(rows))
        if self.duration_ms is None:
            return room
        ends_ms = began_ms + self.duration_ms
        early = max(1, self.least - count)
        return next((at for at in range(early, room) if rows[at].at_ms >= ends_ms), room)

    def _close(self) -> None:
        assert self.open is not None
        self.closed.append(self.open)
        self.open = None

    # -- as bytes -------------------------------------------------------------

    def packed(self) -> PackedSeries:
        return PackedSeries(
            PackedWindow.of(self.open) if self.open else None,
            [PackedWindow.of(one) for one in self.closed],
        )

    def restore(self, kept: PackedSeries, kinds: Mapping[str, Any]) -> None:
        """Raises:
        KeyError, ValueError: see `PackedWindow.window`."""
        self.open = kept.open.window(kinds) if kept.open else None
        self.closed = [one.window(kinds) for one in kept.closed]


def _merged(first: Any, second: Any) -> Any:
    if first is None or second is None:
        return second if first is None else first
    return first.merged(second)
