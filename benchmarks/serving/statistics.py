"""From windows to numbers. Pure: no clock, no process, no file.

A window is one case under load for a second or so. The measure is processor time of the server, which
hardly depends on neighbours; throughput and latency do, so they count only from quiet windows. Ratios
are medians over rounds of the ratio inside a round: both sides saw the same machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

import msgspec

QUIET: Final = 0.05
"""Largest share of the machine's processor time that others may use in a quiet window."""


class Window(msgspec.Struct, frozen=True):
    """One case under load. `cpu_us`: server processor time per request. `foreign`: share of the
    machine's processor time that went to others. `failed`: answers that were not what was asked for."""

    requests: int
    failed: int
    seconds: float
    cpu_us: float
    foreign: float
    p50_us: float
    p99_us: float

    @property
    def is_quiet(self) -> bool:
        return self.foreign < QUIET

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


class Measured(msgspec.Struct, frozen=True):
    """All windows of one case: `closed` loop in round order, and `open` loop at half that rate."""

    closed: list[Window]
    open: list[Window]


class CaseResult(msgspec.Struct, frozen=True):
    """One line of the table. Throughput and latency come from quiet windows, or are null."""

    cpu_us: float
    cpu_us_lowest: float
    cpu_us_highest: float
    share_of_floor: float
    per_second: float | None
    p50_us: float | None
    p99_us: float | None
    requests: int
    failed: int
    windows: int
    quiet_windows: int


class Noise(msgspec.Struct, frozen=True):
    """Whether the machine was quiet enough, in numbers and in words."""

    windows: int
    quiet_windows: int
    median_foreign: float
    is_too_noisy: bool
    verdict: str


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank: the smallest value that at least `share` of all do not exceed; NaN of nothing."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summarize(case: Measured, floor: Measured) -> CaseResult:
    """One case against the floor of the same run."""
    costs = [window.cpu_us for window in case.closed]
    everything = [*case.closed, *case.open]
    return CaseResult(
        cpu_us=median(costs),
        cpu_us_lowest=min(costs),
        cpu_us_highest=max(costs),
        share_of_floor=paired_ratio(floor, case),
        per_second=_quiet_median(case.closed, lambda window: window.per_second),
        p50_us=_quiet_median(case.open, lambda window: window.p50_us),
        p99_us=_quiet_median(case.open, lambda window: window.p99_us),
        requests=sum(window.requests for window in everything),
        failed=sum(window.failed for window in everything),
        windows=len(everything),
        quiet_windows=sum(window.is_quiet for window in everything),
    )


def paired_ratio(above: Measured, below: Measured) -> float:
    """Median over rounds of the ratio of server processor time per request."""
    rounds = zip(above.closed, below.closed, strict=True)
    return median(one.cpu_us / other.cpu_us for one, other in rounds)


def paired_difference_us(more: Measured, less: Measured) -> float:
    """Median over rounds of the difference of server processor time per request."""
    rounds = zip(more.closed, less.closed, strict=True)
    return median(one.cpu_us - other.cpu_us for one, other in rounds)


def noise(windows: Sequence[Window]) -> Noise:
    """Too noisy is when fewer than half of the windows were quiet."""
    quiet = sum(window.is_quiet for window in windows)
    is_too_noisy = 2 * quiet < len(windows)
    others = median(window.foreign for window in windows)
    verdict = f"{quiet} of {len(windows)} windows were quiet (others below {QUIET:.0%})"
    if is_too_noisy:
        verdict = (
            f"TOO NOISY: only {verdict}; others took {others:.0%} of the machine. Throughput and latency"
            " say nothing; processor time and ratios are indications. Run it again on an idle machine."
        )
    return Noise(len(windows), quiet, others, is_too_noisy, verdict)


def _quiet_median(windows: Sequence[Window], of: Callable[[Window], float]) -> float | None:
    quiet = [of(window) for window in windows if window.is_quiet]
    return median(quiet) if quiet else None
