"""A stand-in for a stream of a GPU, which copies as late as it may."""

from __future__ import annotations

import torch

from agent_core.functional.side_stream import Wait

DEVICES = [torch.device(name) for name in ("cpu", "cuda")[: 1 + torch.cuda.is_available()]]
"""Those at hand."""


class LateStream:
    """What is sent arrives, but its buffer counts as being read until it is waited for: whoever writes to it
    before is found out then. `sent_bytes`: of each copy to the device. `waited_for`: which of them, by
    number from 0, in that order. `fetched_bytes`: of each copy to the host.
    """

    def __init__(self) -> None:
        self.sent_bytes: list[int] = []
        self.waited_for: list[int] = []
        self.fetched_bytes: list[int] = []
        self._being_read: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def buffer(self, size_bytes: int) -> torch.Tensor:
        return torch.zeros(size_bytes, dtype=torch.uint8)

    def sent(self, source: torch.Tensor) -> tuple[torch.Tensor, Wait]:
        number, target = len(self.sent_bytes), source.clone()
        self.sent_bytes.append(source.nbytes)
        self._being_read[number] = (source, target.clone())

        def wait() -> None:
            self.waited_for.append(number)
            self._end(number)

        return target, wait

    def fetched(self, source: torch.Tensor, target: torch.Tensor) -> Wait:
        """Only `wait` copies, what there was at the time of the call."""
        self.fetched_bytes.append(source.nbytes)
        queued = source.clone()

        def wait() -> None:
            target.copy_(queued)

        return wait

    def settle(self) -> None:
        """Ends every copy that nobody waited for."""
        for number in list(self._being_read):
            self._end(number)

    def _end(self, number: int) -> None:
        source, sent = self._being_read.pop(number)
        same = torch.equal(source.flatten().view(torch.uint8), sent.flatten().view(torch.uint8))
        assert same, "a buffer was written while a copy may still have read it"
