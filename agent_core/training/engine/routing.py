"""Which library multiplies matrices on the CPU.

Torch sends float32 products to MKL. oneDNN has other kernels, which one setting turns on: it allows products in
bfloat16, and oneDNN makes use of that only where the CPU has instructions for it (AMX). Elsewhere the
products stay in full float32 and were twice as fast as MKL's on an AMD CPU. So nothing but a probe can tell.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import torch

Route: TypeAlias = Literal["none", "bf16"]
"""Values of torch.backends.mkldnn.matmul.fp32_precision: MKL, and oneDNN."""
Precision: TypeAlias = Literal["full", "bf16"]
"""How exact products must be: as float32 is, or with the 8 bits of a bfloat16."""

DEFAULT: Final[Route] = "none"


class Probe(NamedTuple):
    """What one product of two matrices gave. `error`: the largest, against float64. `seconds`: the fastest of
    several."""

    error: float
    seconds: float


@contextmanager
def routed(route: Route) -> Iterator[None]:
    """Products inside go where `route` says; those of other threads that ask for a route wait."""
    backend: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # made at run time
    with _one_at_a_time:
        before, backend.fp32_precision = backend.fp32_precision, route
        try:
            yield
        finally:
            backend.fp32_precision = before


def probe(route: Route) -> Probe:
    """A product of two square matrices."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(_SIZE, _SIZE, generator=generator) for _ in range(2))
    exact, seconds = left.double() @ right.double(), []
    with routed(route):
        error = float(((left @ right).double() - exact).abs().max())
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            torch.mm(left, right)
            seconds.append(time.perf_counter() - start)
    return Probe(error, min(seconds))


def routes(precision: Precision) -> list[Route]:
    """The routes that are exact enough on this machine, the default first."""
    if precision == "bf16":
        return [DEFAULT, "bf16"]
    usual, other = probe(DEFAULT), probe("bf16")
    is_exact = other.error <= _TOLERANCE * usual.error
    return [DEFAULT, "bf16"] if is_exact else [DEFAULT]


_one_at_a_time = RLock()
"""The setting is one for the whole process."""
_ROUNDS, _SIZE = 5, 256
_TOLERANCE = 3.0
"""Float32 kernels differ by the order of their sums: 1.4 times was seen. Bfloat16 is off by thousands."""
