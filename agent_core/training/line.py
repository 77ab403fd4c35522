"""Where rank 0 tells the other ranks what to do next.

    rank 0:  line.tell(head, body)              others:  head, body = line.hear()
             with line.agreed(): ...                     with line.agreed(): ...

It runs beside the gradients, from host to host whatever they run on, so that a rank which fails within an
update is not taken for one that is merely late.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from agent_core.errors import RankLostError
from agent_core.training.parallel import PATIENCE, together


class Line:
    """One between all ranks that have joined; each of them makes its end of it."""

    def __init__(self) -> None:
        self._group = dist.new_group(backend="gloo", timeout=PATIENCE)

    def tell(self, head: bytes, body: bytes) -> None:
        """Sends both to all others.

        Raises:
            RankLostError: one of them is gone, or did not listen within `PATIENCE`.
        """
        self._broadcast(torch.tensor([len(head), len(body)]))
        message = bytearray(head)
        message += body
        self._broadcast(torch.frombuffer(message, dtype=torch.uint8))

    def hear(self) -> tuple[bytes, bytes]:
        """What rank 0 tells next.

        Raises:
            RankLostError: it is gone, or silent for longer than `PATIENCE`.
        """
        head, body = self._broadcast(torch.zeros(2, dtype=torch.int64)).tolist()
        message = self._broadcast(torch.empty(head + body, dtype=torch.uint8)).numpy()
        return message[:head].tobytes(), message[head:].tobytes()

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """For what was told: ends when all ranks have done it, or all have failed, each by its own error.

        Raises:
            RankLostError: some failed and others did not: their weights differ from here on. Or one is gone.
        """
        try:
            yield
        except RankLostError:
            raise
        except Exception:
            self._agree(is_well=False)
            raise
        self._agree(is_well=True)

    def _agree(self, *, is_well: bool) -> None:
        well, count = torch.tensor([int(is_well)]), dist.get_world_size()
        with together():
            dist.all_reduce(well, group=self._group)
        if int(well) not in (0, count):
            raise RankLostError(
                f"{int(well)} of {count} processes did what was asked, others failed"
            )

    def _broadcast(self, tensor: torch.Tensor) -> torch.Tensor:
        with together():
            dist.broadcast(tensor, 0, group=self._group)
        return tensor
