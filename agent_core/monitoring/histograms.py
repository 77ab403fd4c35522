"""Each feature's distribution in bins that the reference fixed: the population stability index, calibrated.

Letters: T rows, d features, B bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from agent_core.monitoring.storage import Stored
from agent_core.monitoring.tails import pair_count, upper_tails
from agent_core.types import Doubles, Integers, Mask

_LEAST_EXPECTED: Final = 5.0
"""Rows of the smaller sample in a bin, below which the chi-squared form does not hold; as everybody does."""


@dataclass(frozen=True, slots=True, eq=False)
class Bins(Stored):
    """`edges`: `[d, B - 1]` ascending. A value is in the bin whose number is that of the edges below it. Infinite
    edges fill up features with fewer bins, whose last ones stay empty."""

    edges: Doubles

    @classmethod
    def of(cls, reference: Doubles, bins: int = 10) -> Bins:
        """Bins that hold about as many rows of `reference` `[T, d]` each.

        Edges lie half way between values that were seen, so that rounding moves no row over one; of whole numbers
        and categories each frequent value gets its own bin. A feature with one value has three: below, it, above.
        """
        return cls(np.stack([_edges(column, bins) for column in reference.T]))

    @property
    def count(self) -> int:
        """B."""
        edges: int = self.edges.shape[1]
        return edges + 1


@dataclass(frozen=True, slots=True, eq=False)
class Counts(Stored):
    """`rows`: `[d, B]` int64, how many rows had the feature in the bin."""

    rows: Integers

    @classmethod
    def of(cls, bins: Bins, rows: Doubles) -> Counts:
        """`rows`: `[T, d]`."""
        return cls(
            np.stack([_counted(e, v, bins.count) for e, v in zip(bins.edges, rows.T, strict=True)])
        )

    def merged(self, other: Counts) -> Counts:
        return Counts(self.rows + other.rows)


def psi(reference: Integers, window: Integers) -> Doubles:
    """`[d]`: the population stability index, sum over bins of (w - r) ln(w / r), from counts `[d, B]`.

    r and w are shares of the reference and of the window, with half a row added to each bin that has any: an
    empty one would make it infinite. People know 0.1 and 0.25 as its thresholds, which are right for no size
    of window: decide by `psi_p_values`.
    """
    is_used = reference + window > 0
    r, w = _shares(reference, is_used), _shares(window, is_used)
    index: Doubles = np.where(is_used, (w - r) * np.log(w / r), 0.0).sum(1)
    return index


def psi_p_values(reference: Integers, window: Integers) -> Doubles:
    """`[d]`: the probability of a `psi` as large, where both samples are of one distribution.

    PSI n m / (n + m) is then about chi-squared with B - 1 degrees of freedom (Yurdakul 2018, section 2.3), for
    n and m rows. Bins in which the smaller sample can expect fewer than 5 rows are taken together first.
    """
    reference, window = _rare_together(reference, window)
    n, m = int(reference[0].sum()), int(window[0].sum())
    freedom = (reference + window > 0).sum(1) - 1
    return upper_tails(psi(reference, window) * pair_count(n, m), freedom.astype(np.float64))


def _edges(column: Doubles, bins: int) -> Doubles:
    """`[bins - 1]`, filled up with infinity."""
    values, counts = np.unique(column, return_counts=True)
    if len(values) == 1:
        found = np.array([np.nextafter(values[0], -np.inf), values[0]])[: bins - 1]
    else:
        wanted = np.arange(1, bins) / bins * len(column)
        last_below = np.searchsorted(np.cumsum(counts), wanted - 1e-9)
        last_below = np.unique(last_below[last_below < len(values) - 1])
        found = values[last_below] / 2 + values[last_below + 1] / 2
    return np.concatenate([found, np.full(bins - 1 - len(found), np.inf)])


def _counted(edges: Doubles, values: Doubles, bins: int) -> Integers:
    return np.bincount(np.searchsorted(edges, values), minlength=bins)


def _shares(counts: Integers, is_used: Mask) -> Doubles:
    smooth = np.where(is_used, counts + 0.5, 1.0)
    total = np.where(is_used, smooth, 0.0).sum(1, keepdims=True)
    shares: Doubles = smooth / total
    return shares


def _rare_together(reference: Integers, window: Integers) -> tuple[Integers, Integers]:
    """`[d, B + 1]` each; the last bin holds those that are rare in both samples as one."""
    both = reference + window
    smaller = min(int(reference[0].sum()), int(window[0].sum()))
    is_rare = both * (smaller / both[0].sum()) < _LEAST_EXPECTED

    def moved(counts: Integers) -> Integers:
        rare = np.where(is_rare, counts, 0).sum(1, keepdims=True)
        return np.concatenate([np.where(is_rare, 0, counts), rare], 1)

    return moved(reference), moved(window)
