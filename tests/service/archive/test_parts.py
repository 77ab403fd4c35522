"""The archive on disk: parts are whole or skipped, and every event is read once."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.archive.logic import START, Event, StreamId, event_of
from service.archive.parts import (
    TornPartError,
    clear_unfinished,
    find_decision,
    last_archived,
    list_parts,
    merge_parts,
    read_archive,
    read_part,
    write_part,
)


def events(*numbers: int) -> list[Event]:
    """Events at these milliseconds."""
    return [Event(StreamId(at, 0), "reward", f"d{at}", bytes([at % 256])) for at in numbers]


def numbers(folder: Path) -> list[int]:
    return [event.at_ms for event in read_archive(folder)]


some_text = st.text(max_size=8)
some_events = st.builds(
    Event,
    stream_id=st.builds(StreamId, st.integers(1, 10**13), st.integers(0, 99)),
    type=st.sampled_from(["decision", "reward", "seal"]),
    decision_id=some_text,
    body=st.binary(max_size=50),
    model_version=st.none() | some_text,
    action_id=st.none() | some_text,
    propensity=st.none() | st.floats(0, 1),
    reason=st.none() | some_text,
)


@given(st.lists(some_events, min_size=1, max_size=10, unique_by=lambda event: event.stream_id))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read(tmp_path: Path, written: list[Event]) -> None:
    written.sort(key=lambda event: event.stream_id)

    part = write_part(tmp_path, written)

    assert read_part(part.path) == written
    assert (part.first, part.last) == (written[0].stream_id, written[-1].stream_id)


def test_ids_order_by_time_not_by_spelling(tmp_path: Path) -> None:
    write_part(tmp_path, events(10, 11))
    write_part(tmp_path, events(9))

    assert numbers(tmp_path) == [9, 10, 11]
    assert last_archived(tmp_path) == StreamId(11, 0)


def test_an_empty_or_missing_folder_has_no_events(tmp_path: Path) -> None:
    assert list(read_archive(tmp_path / "none")) == []
    assert last_archived(tmp_path / "none") == START


def test_parts_that_overlap_give_every_event_once(tmp_path: Path) -> None:
    write_part(tmp_path, events(1, 2, 3))
    write_part(tmp_path, events(1, 2, 3, 4))
    write_part(tmp_path, events(3, 4, 5))

    assert numbers(tmp_path) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("keep", [0, 3, 0.5, 0.99])
def test_a_torn_part_is_skipped_and_counted(tmp_path: Path, keep: float) -> None:
    """(failure table row 16)"""
    write_part(tmp_path, events(1, 2))
    torn = write_part(tmp_path, events(3, 4)).path
    write_part(tmp_path, events(5))
    whole = torn.read_bytes()
    torn.write_bytes(whole[: int(keep if keep > 1 else keep * len(whole))])

    archive = read_archive(tmp_path)

    assert [event.at_ms for event in archive] == [1, 2, 5]
    assert archive.torn == [torn]


def test_flipped_bits_are_noticed(tmp_path: Path) -> None:
    """(failure table row 16): most of the file is a body that does not compress, so the flip is in it."""
    body = random.Random(16).randbytes(10_000)
    path = write_part(tmp_path, [Event(StreamId(1, 0), "reward", "d", body)]).path
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0x01
    path.write_bytes(whole)

    with pytest.raises(TornPartError):
        read_part(path)


def test_a_file_of_somebody_else_is_not_an_event(tmp_path: Path) -> None:
    pq.write_table(
        pq.read_table(write_part(tmp_path, events(1)).path).drop(["body"]), tmp_path / "x"
    )
    (tmp_path / "x").rename(tmp_path / "part-2-0_2-0.parquet")
    (tmp_path / "notes.parquet").write_text("hello")

    assert numbers(tmp_path) == [1]


def test_the_archive_ends_where_its_last_readable_part_ends(tmp_path: Path) -> None:
    """(failure table row 16): what the torn part held is archived again if Redis still has it."""
    write_part(tmp_path, events(1, 2))
    write_part(tmp_path, events(3, 4)).path.write_bytes(b"PAR1")

    assert last_archived(tmp_path) == StreamId(2, 0)


def test_what_a_killed_worker_left_unfinished_is_not_read_and_is_removed(tmp_path: Path) -> None:
    write_part(tmp_path, events(1))
    (tmp_path / ".part-2-0_3-0.parquet.4711").write_bytes(b"half")

    before = numbers(tmp_path)
    clear_unfinished(tmp_path)

    assert before == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["part-1-0_1-0.parquet"]


def test_merging_replaces_parts_by_one_with_the_same_events(tmp_path: Path) -> None:
    parts = [write_part(tmp_path, events(1, 2)), write_part(tmp_path, events(3))]

    merge_parts(tmp_path, parts)

    assert [part.path.name for part in list_parts(tmp_path)] == ["part-1-0_3-0.parquet"]
    assert numbers(tmp_path) == [1, 2, 3]


def test_a_reader_follows_parts_that_are_merged_under_its_feet(tmp_path: Path) -> None:
    parts = [write_part(tmp_path, events(1, 2)), write_part(tmp_path, events(3))]
    archive = read_archive(tmp_path)

    reading = iter(archive)
    first = next(reading)
    merge_parts(tmp_path, parts)
    rest = list(reading)

    assert [event.at_ms for event in (first, *rest)] == [1, 2, 3]
    assert archive.torn == []


def test_a_decision_is_found_by_its_id(tmp_path: Path) -> None:
    write_part(tmp_path, [Event(StreamId(1, 0), "decision", "d1", b"record")])
    write_part(tmp_path, [Event(StreamId(2, 0), "reward", "d1", b"reward")])
    write_part(tmp_path, events(3)).path.write_bytes(b"torn")

    assert find_decision(tmp_path, "d1") == b"record"
    assert find_decision(tmp_path, "d2") is None


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x93\x01\x02\x03"])
def test_a_decision_that_cannot_be_read_is_archived_all_the_same(body: bytes) -> None:
    """(failure table row 16)"""
    event = event_of(b"5-1", {b"t": b"decision", b"d": b"d1", b"b": body})

    assert event == Event(StreamId(5, 1), "decision", "d1", body)
