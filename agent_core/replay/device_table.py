"""A copy on a device of a table that grows at its end."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from agent_core.functional.side_stream import SideStream
from agent_core.replay.upload import Upload

_Number = TypeVar("_Number", np.float32, np.int64)


class DeviceTable(Generic[_Number]):
    """Follows a host table of which row number i is written once, at i modulo M, and M is the table's length.

    What is new is sent when the copy is asked for, so many small additions are one copy, or two where they
    wrap around. A table that was replaced by another, because it grew, was packed or was restored, is
    sent whole again: of one that doubles, in all twice what it holds.
    """

    def __init__(self, device: torch.device, stream: SideStream) -> None:
        self._device = device
        self._upload = Upload(stream)
        self._source: npt.NDArray[_Number] | None = None
        self._copy = torch.empty(0, device=device)
        self._end = 0

    def of(self, source: npt.NDArray[_Number], first: int, end: int) -> torch.Tensor:
        """The copy `[M, ...]` of `source` `[M, ...]`; of the numbers `first` to `end` - 1, that is: what else
        is in it means nothing."""
        host = torch.from_numpy(source)
        if source is not self._source:
            self._source, self._end = source, first
            self._copy = torch.empty_like(host, device=self._device)
        for slot, size in _runs(max(first, self._end), end, len(source)):
            new = slice(slot, slot + size)
            # By way of memory of its own: work that is queued already may still read what was here before.
            self._copy[new] = self._upload.sent(host[new])
        self._end = end
        return self._copy


def _runs(number: int, end: int, room: int) -> list[tuple[int, int]]:
    """Slots and sizes of the pieces in which the numbers `number` to `end` - 1 lie in a table of `room` rows."""
    runs = []
    while number < end:
        slot = number % room
        size = min(end - number, room - slot, _PIECE)
        runs.append((slot, size))
        number += size
    return runs


_PIECE = 4096  # rows sent at once: what a whole table needs of buffers is little
