"""Who used the processor: the scheduler's own account, in nanoseconds, of processes and of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_BUSY = (1, 2, 3, 6, 7, 8)
"""Fields of a line of /proc/stat: user, nice, system, irq, softirq, steal. Guests are within user."""


def process_cpu_s(pid: int) -> float:
    """Processor seconds of all living threads of a process; 0 when it is gone."""
    spent_ns = 0
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            spent_ns += int((task / "schedstat").read_bytes().split()[0])
    return spent_ns / 1e9


def processes_cpu_s(pids: Iterable[int]) -> float:
    """The same for several processes together."""
    return sum(process_cpu_s(pid) for pid in pids)


def machine_busy_s() -> float:
    """Processor seconds in which any core did anything, stolen time included."""
    first = Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()
    return sum(int(first[at]) for at in _BUSY) / _TICKS_PER_S
