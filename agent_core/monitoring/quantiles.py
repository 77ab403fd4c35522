"""Percentiles of rewards and delays from sums of bounded size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from agent_core.monitoring.storage import Stored
from agent_core.types import Doubles, Integers

_STEPS: Final = 32
"""Of each doubling: a bin is 2.2 % wide, and its middle 1.1 % off at most."""
_SMALLEST: Final = -40
_LARGEST: Final = 60
"""Powers of two: what is closer to 0 than 1e-12 is 0, what is beyond 1e18 is counted as 1e18."""


@dataclass(frozen=True, slots=True, eq=False)
class QuantileSketch(Stored):
    """`counts` `[H]` int64 of values in bins `places` `[H]` int64, ascending; at most 6,401 bins.

    Bins are as wide as a fixed share of the value, on either side of 0 (Masson, Rim & Lee 2019: DDSketch). `least`
    and `largest` are exact.
    """

    places: Integers
    counts: Integers
    least: float
    largest: float

    @classmethod
    def of(cls, values: Doubles) -> QuantileSketch:
        """`values`: `[T]`, at least one, finite."""
        places, counts = np.unique(_places(values), return_counts=True)
        return cls(places, counts, float(values.min()), float(values.max()))

    def merged(self, other: QuantileSketch) -> QuantileSketch:
        both = np.concatenate([self.places, other.places])
        places, at = np.unique(both, return_inverse=True)
        counts = np.zeros(len(places), np.int64)
        np.add.at(counts, at, np.concatenate([self.counts, other.counts]))
        least, largest = min(self.least, other.least), max(self.largest, other.largest)
        return QuantileSketch(places, counts, least, largest)

    def quantile(self, probability: float) -> float:
        """The value that a share of `probability`, in [0, 1], is at or below, to 1.1 % of its size."""
        rank = max(1.0, np.ceil(probability * self.counts.sum()))
        place = self.places[np.searchsorted(np.cumsum(self.counts), rank)]
        middle = np.sign(place) * np.exp2((abs(place) - 0.5) / _STEPS + _SMALLEST)
        return float(np.clip(middle, self.least, self.largest))


def _places(values: Doubles) -> Integers:
    """0 for 0, and the same number with either sign for values of one size."""
    sizes = np.abs(values)
    logs = np.log2(np.where(sizes > 0, sizes, 2.0**_SMALLEST)) - _SMALLEST
    steps = np.clip(np.ceil(logs * _STEPS), 0, (_LARGEST - _SMALLEST) * _STEPS)
    places: Integers = (np.sign(values) * steps).astype(np.int64)
    return places
