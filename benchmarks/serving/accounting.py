"""Who used the processor: the scheduler's own account, in nanoseconds, of processes and of the machine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_BUSY = (1, 2, 3, 6, 7, 8)
"""Fields of a line of /proc/stat: user, nice, system, irq, softirq, steal. Guests are within user."""
_SCHEDULED = 2
"""Asks the clock of a process for what the scheduler has counted."""


def process_cpu_s(pid: int) -> float:
    """Processor seconds of all threads of a process, ended ones included; 0 when it is gone.

    What `clock_getcpuclockid` of libc computes. The sum over /proc/<pid>/task forgets a thread that
    ends, and thread pools end theirs.
    """
    with suppress(OSError):
        return time.clock_gettime((~pid << 3) | _SCHEDULED)
    return 0.0


def processes_cpu_s(pids: Iterable[int]) -> float:
    """The same for several processes together."""
    return sum(process_cpu_s(pid) for pid in pids)


def machine_busy_s() -> float:
    """Processor seconds in which any core did anything, stolen time included."""
    first = Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()
    return sum(int(first[at]) for at in _BUSY) / _TICKS_PER_S
