"""The few statistics that the demos report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEVEL = 0.999
"""Of the intervals that a promise rests on: at 95 % an honest log would break its promise in every
twentieth run."""
_Z = 3.2905267314919255


class Interval(NamedTuple):
    """A mean and its normal interval at `LEVEL`."""

    mean: float
    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        return isinstance(value, (int, float)) and self.low <= value <= self.high


def mean_interval(values: Sequence[float]) -> Interval:
    """The interval of the mean of at least one value; infinite for a single one."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return Interval(mean, -math.inf, math.inf)
    half = _Z * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def percentile_ms(seconds: Sequence[float], percent: float) -> float:
    """A percentile of durations, in milliseconds."""
    return float(np.percentile(seconds, percent)) * 1000


def blocks(values: Sequence[float], size: int) -> list[float]:
    """The mean of every `size` values in a row; the last block may be shorter."""
    return [float(np.mean(values[at : at + size])) for at in range(0, len(values), size)]


def finite(value: float) -> float | None:
    """`value`, or None where JSON has no number for it."""
    return value if math.isfinite(value) else None
