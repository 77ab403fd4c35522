"""Tables of the host, sent to a device one after the other."""

from __future__ import annotations

from collections import deque

import torch

from agent_core.functional.side_stream import SideStream


class Upload:
    """Sends from two buffers in turns: the next table is written to one while the other may still be read.

    A buffer is waited for before it is written again, so the host is never more than two copies ahead. Buffers
    grow to the largest table that was ever sent, rounded up to a power of two.
    """

    def __init__(self, stream: SideStream) -> None:
        self._stream = stream
        self._free = deque((stream.buffer(0), _nothing) for _ in range(2))

    def sent(self, table: torch.Tensor) -> torch.Tensor:
        """A copy on the device of `table`, which is on the host and may be changed at once."""
        buffer, wait = self._free.popleft()
        wait()
        if len(buffer) < table.nbytes:
            buffer = self._stream.buffer(1 << (table.nbytes - 1).bit_length())
        source = buffer[: table.nbytes].view(table.dtype).view(table.shape)
        source.copy_(table)
        target, wait = self._stream.sent(source)
        self._free.append((buffer, wait))
        return target


def _nothing() -> None:
    """Nobody reads a new buffer."""
