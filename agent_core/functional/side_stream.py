"""Copies between the host and a device that go on beside the work that is queued there.

Unmeasured: no GPU was at hand. What is tested is that no memory is written while a copy may still read it, with
a stand-in for the GPU's stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

import torch

Wait: TypeAlias = Callable[[], None]
"""Returns once a copy is whole."""


class SideStream(Protocol):
    """Makes copies. Work that is queued on the device later on finds them whole; the host must wait."""

    def buffer(self, size_bytes: int) -> torch.Tensor:
        """`[size_bytes]` uint8 of host memory that may be copied from and to."""
        ...

    def sent(self, source: torch.Tensor) -> tuple[torch.Tensor, Wait]:
        """A copy on the device of `source`, a part of a buffer, which must not change until waited for."""
        ...

    def fetched(self, source: torch.Tensor, target: torch.Tensor) -> Wait:
        """Copies `source`, as queued work leaves it, to `target`, a part of a buffer."""
        ...


class AtOnce:
    """Copies are whole when they are asked for: for every device but a GPU, the host included."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def buffer(self, size_bytes: int) -> torch.Tensor:
        return torch.empty(size_bytes, dtype=torch.uint8)

    def sent(self, source: torch.Tensor) -> tuple[torch.Tensor, Wait]:
        return source.to(self._device, copy=True), _nothing

    def fetched(self, source: torch.Tensor, target: torch.Tensor) -> Wait:
        target.copy_(source)
        return _nothing


class GpuStream:
    """A stream of the GPU's own for copies; buffers are pinned, so that the GPU reads them by itself."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def buffer(self, size_bytes: int) -> torch.Tensor:
        return torch.empty(size_bytes, dtype=torch.uint8, pin_memory=True)

    def sent(self, source: torch.Tensor) -> tuple[torch.Tensor, Wait]:
        working = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            target = source.to(self._device, non_blocking=True)
            done = self._stream.record_event()
        working.wait_event(done)
        target.record_stream(working)  # else its memory might be given to a later copy too early
        return target, done.synchronize

    def fetched(self, source: torch.Tensor, target: torch.Tensor) -> Wait:
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            target.copy_(source, non_blocking=True)
            done = self._stream.record_event()
        source.record_stream(self._stream)
        wait: Wait = done.synchronize
        return wait


def side_stream(device: torch.device) -> SideStream:
    """The way to copy to and from `device`."""
    return GpuStream(device) if device.type == "cuda" else AtOnce(device)


def on_host(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`tensors` in host memory, in their order: those that are there as they are, those of the one device
    that others may be on in one copy."""
    there = {name: value for name, value in tensors.items() if value.device.type != "cpu"}
    if not there:
        return dict(tensors)
    device = next(iter(there.values())).device
    return {**tensors, **fetched(there, side_stream(device))}


def fetched(tensors: Mapping[str, torch.Tensor], stream: SideStream) -> dict[str, torch.Tensor]:
    """`tensors`, which are on one device, as parts of one buffer on the host.

    They are put together on the device first, as they are now, and cross in one copy: updates that are queued
    meanwhile change nothing of it.
    """
    # The widest numbers first, so that each tensor begins at a multiple of the width of its own.
    widest_first = sorted(tensors, key=lambda name: -tensors[name].element_size())
    flat = [tensors[name].detach().reshape(-1).view(torch.uint8) for name in widest_first]
    buffer = stream.buffer(sum(map(len, flat)))
    stream.fetched(torch.cat(flat), buffer)()
    parts = dict(zip(widest_first, buffer.split([len(one) for one in flat]), strict=True))
    return {
        name: parts[name].view(value.dtype).view(value.shape) for name, value in tensors.items()
    }


def _nothing() -> None:
    """There is nothing to wait for."""
