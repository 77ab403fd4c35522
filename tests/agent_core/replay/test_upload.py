"""Two buffers in turns: nothing is written where a copy may still read."""

from __future__ import annotations

import pytest
import torch

from agent_core.functional.side_stream import AtOnce
from agent_core.replay.upload import Upload
from tests.support.late_stream import LateStream


def _table(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers)


def test_what_is_sent_stays_when_the_table_changes() -> None:
    table = _table(1, 2)

    sent = Upload(AtOnce(torch.device("cpu"))).sent(table)
    table.zero_()

    assert sent.tolist() == [1, 2]


def test_the_third_copy_waits_for_the_first() -> None:
    stream = LateStream()
    upload = Upload(stream)

    upload.sent(_table(1))
    upload.sent(_table(2))
    waited_before = list(stream.waited_for)
    upload.sent(_table(3))

    assert (waited_before, stream.waited_for) == ([], [0])


def test_tables_of_any_size_and_kind_arrive_whole() -> None:
    stream = LateStream()
    upload = Upload(stream)
    tables = [
        _table(1, 2, 3),
        torch.arange(1000),
        torch.zeros(0, 4),
        torch.arange(12.0).view(3, 4)[:, 1:3],
        torch.tensor([[True], [False]]),
        torch.arange(5),
    ]

    arrived = [upload.sent(table) for table in tables]
    stream.settle()

    for table, sent in zip(tables, arrived, strict=True):
        assert sent.dtype == table.dtype
        assert torch.equal(sent, table)


def test_the_stand_in_notices_who_does_not_wait() -> None:
    stream = LateStream()
    buffer = stream.buffer(4)
    stream.sent(buffer)

    buffer.fill_(1)

    with pytest.raises(AssertionError, match="a buffer was written"):
        stream.settle()
