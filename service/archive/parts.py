"""The archive on disk: Parquet parts, each written whole, never changed.

    <archive>/<policy>/part-<first stream id>_<last stream id>.parquet

A part's name says what is in it. Two workers that archive the same events therefore write the same
file or files that overlap, never one over the other's different content; whoever reads skips the ids
that it has had. Any Parquet tool can query a part; `read_archive` is for programs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import structlog

from service.archive.logic import START, Event, StreamId

log = structlog.get_logger(__name__)

_NAME: Final = re.compile(r"part-(\d+-\d+)_(\d+-\d+)\.parquet")
_SCHEMA: Final = pa.schema(
    [
        pa.field("stream_id", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("decision_id", pa.string(), nullable=False),
        pa.field("at_ms", pa.int64(), nullable=False),
        pa.field("model_version", pa.string()),
        pa.field("action_id", pa.string()),
        pa.field("propensity", pa.float64()),
        pa.field("reason", pa.string()),
        pa.field("body", pa.binary(), nullable=False),
    ]
)
_REPETITIVE: Final = ["type", "model_version", "action_id", "reason"]


class TornPartError(Exception):
    """A part is truncated, damaged, or not one of ours."""


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """One file with the events from `first` to `last`; parts sort by their events."""

    first: StreamId
    last: StreamId
    path: Path


def list_parts(folder: Path) -> list[Part]:
    """The parts of one policy, oldest first; none if there is no such folder."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.glob("part-*.parquet"))
    return sorted(
        Part(StreamId.parse(name[1]), StreamId.parse(name[2]), path) for name, path in found if name
    )


def newest_named(folder: Path) -> StreamId:
    """The highest id that the name of a part promises, whether or not it can be read."""
    return max((part.last for part in list_parts(folder)), default=START)


def write_part(folder: Path, events: Sequence[Event]) -> Part:
    """Puts events, oldest first and at least one, on disk. When it returns they survive a power loss.

    Raises:
        OSError: the disk is full or not there. Nothing of the part is visible then.
    """
    return _write(folder, events[0].stream_id, events[-1].stream_id, _table(events))


def merge_parts(folder: Path, parts: Sequence[Part]) -> Part:
    """Replaces parts that follow one another by one. A crash in between leaves both: they overlap.

    Raises:
        TornPartError: one of them cannot be read.
        OSError: one of them is gone, or the disk is full. They are left as they are.
    """
    table = pa.concat_tables([_read(part.path) for part in parts])
    merged = _write(folder, parts[0].first, parts[-1].last, table)
    for part in parts:
        part.path.unlink(missing_ok=True)
    return merged


def _write(folder: Path, first: StreamId, last: StreamId, table: pa.Table) -> Part:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"part-{first}_{last}.parquet"
    temporary = folder / f".{path.name}.{os.getpid()}"
    with temporary.open("wb") as file:
        pq.write_table(
            table,
            file,
            compression="zstd",
            use_dictionary=_REPETITIVE,
            write_page_checksum=True,
        )
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_directory(folder)
    return Part(first, last, path)


def clear_unfinished(folder: Path) -> None:
    """Removes what a killed worker had not finished writing."""
    for leftover in folder.glob(".part-*"):
        leftover.unlink(missing_ok=True)


def _sync_directory(folder: Path) -> None:
    """Makes the new name survive a power loss, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _table(events: Sequence[Event]) -> pa.Table:
    columns: dict[str, list[Any]] = {
        "stream_id": [str(event.stream_id) for event in events],
        **{
            name: [getattr(event, name) for event in events]
            for name in _SCHEMA.names
            if name != "stream_id"
        },
    }
    return pa.table(columns, schema=_SCHEMA)


# -- reading ------------------------------------------------------------------------------------


def read_part(path: Path) -> list[Event]:
    """The events of one part.

    Raises:
        TornPartError: it is truncated, damaged, or not one of ours.
        FileNotFoundError: it is gone.
    """
    return [
        Event(
            StreamId.parse(row["stream_id"]),
            row["type"],
            row["decision_id"],
            row["body"],
            row["model_version"],
            row["action_id"],
            row["propensity"],
            row["reason"],
        )
        for row in _read(path).to_pylist()
    ]


def _read(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path, use_threads=False, page_checksum_verification=True)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise TornPartError(f"{path}: {error}") from error
    if not table.schema.equals(_SCHEMA):
        raise TornPartError(f"{path}: it has other columns")
    return table


def last_archived(folder: Path) -> StreamId:
    """The id up to which the archive is complete: the end of its newest part that can be read."""
    for part in reversed(list_parts(folder)):
        try:
            _read(part.path)
        except (TornPartError, FileNotFoundError) as error:
            log.warning("archive_part_unreadable", error=str(error), action="skipped")
        else:
            return part.last
    return START


class Archive:
    """The archived events of one policy, oldest first, each once.

        archive = read_archive(folder)
        for event in archive: ...
        archive.torn             parts that were skipped because they cannot be read

    Safe while a worker is writing: a part that it replaces meanwhile is looked for again.
    """

    def __init__(self, folder: Path) -> None:
        self.torn: list[Path] = []
        self._folder = folder

    def __iter__(self) -> Iterator[Event]:
        self.torn = []
        after, done = START, set[Path]()
        while part := self._next_part(after, done):
            done.add(part.path)
            for event in self._events(part):
                if event.stream_id > after:
                    yield event
                    after = event.stream_id

    def _next_part(self, after: StreamId, done: set[Path]) -> Part | None:
        """The first part with unread events. Listed anew each time, because parts get merged."""
        parts = list_parts(self._folder)
        return next((p for p in parts if p.last > after and p.path not in done), None)

    def _events(self, part: Part) -> list[Event]:
        try:
            return read_part(part.path)
        except FileNotFoundError:
            return []
        except TornPartError as error:
            log.warning("archive_part_unreadable", error=str(error), action="skipped")
            self.torn.append(part.path)
            return []


def read_archive(folder: Path) -> Archive:
    """The events of one policy's folder in the archive."""
    return Archive(folder)


def find_decision(folder: Path, decision_id: str) -> bytes | None:
    """The record of a decision, or None if no part that can be read has it."""
    is_it = (pc.field("decision_id") == decision_id) & pc.field("type").isin(["decision", "shadow"])
    for part in reversed(list_parts(folder)):
        try:
            bodies = pq.read_table(part.path, columns=["body"], filters=is_it, use_threads=False)
        except (pa.ArrowException, OSError, ValueError) as error:
            log.warning("archive_part_unreadable", error=str(error), action="skipped")
            continue
        if len(bodies):
            return bytes(bodies["body"][0].as_py())
    return None
