"""A copy that follows a table: what is new, and all of it when the table is another one."""

from __future__ import annotations

import numpy as np
import torch

from agent_core.replay.device_table import DeviceTable
from agent_core.types import Floats
from tests.support.late_stream import LateStream

_CPU = torch.device("cpu")


def _numbered(room: int, first: int, end: int) -> Floats:
    """`[room, 1]`: number i in row i modulo `room`."""
    table = np.full((room, 1), np.nan, np.float32)
    numbers = np.arange(first, end)
    table[numbers % room, 0] = numbers
    return table


def _put(table: Floats, first: int, end: int) -> None:
    numbers = np.arange(first, end)
    table[numbers % len(table), 0] = numbers


def test_only_what_is_new_is_sent() -> None:
    stream, table = LateStream(), _numbered(8, 0, 5)
    copy = DeviceTable[np.float32](_CPU, stream)

    copy.of(table, 0, 5)
    copy.of(table, 0, 5)
    _put(table, 5, 7)
    found = copy.of(table, 0, 7)

    # 5 numbers of 4 bytes, nothing, 2 numbers.
    assert stream.sent_bytes == [20, 8]
    assert found[:7, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_what_wraps_around_is_sent_in_two_pieces() -> None:
    stream, table = LateStream(), _numbered(8, 0, 6)
    copy = DeviceTable[np.float32](_CPU, stream)
    copy.of(table, 0, 6)

    _put(table, 6, 11)
    found = copy.of(table, 3, 11)

    # Numbers 6 and 7 lie at the end, 8 to 10 at the beginning.
    assert stream.sent_bytes == [24, 8, 12]
    assert found[:, 0].tolist() == [8, 9, 10, 3, 4, 5, 6, 7]


def test_of_more_news_than_there_is_room_for_the_rest_is_sent_once() -> None:
    stream, table = LateStream(), _numbered(4, 0, 2)
    copy = DeviceTable[np.float32](_CPU, stream)
    copy.of(table, 0, 2)

    _put(table, 2, 103)
    found = copy.of(table, 99, 103)

    # 99 lies in row 3, 100 to 102 in rows 0 to 2.
    assert stream.sent_bytes == [8, 4, 12]
    assert found[:, 0].tolist() == [100, 101, 102, 99]


def test_another_table_is_sent_whole() -> None:
    stream = LateStream()
    copy = DeviceTable[np.float32](_CPU, stream)
    copy.of(_numbered(4, 0, 4), 0, 4)

    found = copy.of(_numbered(8, 1, 5), 1, 5)

    assert stream.sent_bytes == [16, 16]
    assert found[1:5, 0].tolist() == [1, 2, 3, 4]


def test_a_long_table_is_sent_in_pieces() -> None:
    stream, table = LateStream(), _numbered(10_000, 0, 10_000)

    found = DeviceTable[np.float32](_CPU, stream).of(table, 0, 10_000)
    stream.settle()

    # 4,096 rows of 4 bytes at most.
    assert stream.sent_bytes == [16_384, 16_384, 7_232]
    assert found[:, 0].tolist() == list(range(10_000))
