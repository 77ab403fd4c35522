"""Whether all features together are distributed as in the reference: maximum mean discrepancy.

The kernel exp(-|x - y|^2 / (2 width^2)) is the mean of products of random cosines and sines, so that a
distribution is told by their means (Rahimi & Recht 2007; Gretton et al. 2012): D numbers that add up. Letters:
T rows, d features, D random features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from agent_core.monitoring.moments import ColumnMoments
from agent_core.monitoring.nulls import NullScores
from agent_core.monitoring.storage import Stored
from agent_core.types import Doubles

_PAIRS: Final = 5_000
"""Of rows, whose median distance is known to 1 % then."""
_WIDTH: Final = 0.5
"""Of the median distance. 1 is usual; half of it saw two shuffled features of letters in 100 of 100 windows of 500
rows where 1 saw 37 to 100, depending on the seed, and nothing else less often (benchmarks/monitoring)."""


@dataclass(frozen=True, slots=True, eq=False)
class RandomFeatures(Stored):
    """`center`, `scale`: `[d]`, mean and deviation of the reference. `frequencies`: `[d, D / 2]`."""

    center: Doubles
    scale: Doubles
    frequencies: Doubles

    @classmethod
    def of(cls, reference: Doubles, dim: int, random: np.random.Generator) -> RandomFeatures:
        """`dim` (D, even) features that fit the `reference` `[T, d]`, at least two rows.

        Each feature is scaled by its deviation first, a constant one not at all, and the width is half the median
        distance of two rows.
        """
        moments = ColumnMoments.of(reference)
        scale = np.where(moments.is_constant, 1.0, np.sqrt(moments.variance))
        width = _WIDTH * _median_distance((reference - moments.mean) / scale, random)
        frequencies = random.standard_normal((reference.shape[1], dim // 2)) / width
        return cls(moments.mean, scale, frequencies)

    def embed(self, rows: Doubles) -> Doubles:
        """`[T, d]` to `[T, D]`, each of length 1."""
        angles = ((rows - self.center) / self.scale) @ self.frequencies
        waves = np.concatenate([np.cos(angles), np.sin(angles)], 1)
        embedded: Doubles = waves / np.sqrt(self.frequencies.shape[1])
        return embedded


@dataclass(frozen=True, slots=True, eq=False)
class MeanEmbedding(Stored):
    """`total`: `[D]`, the sum over `count` embedded rows."""

    count: int
    total: Doubles

    @classmethod
    def of(cls, embedded: Doubles) -> MeanEmbedding:
        """`embedded`: `[T, D]`, at least one."""
        return cls(len(embedded), embedded.sum(0))

    def merged(self, other: MeanEmbedding) -> MeanEmbedding:
        return MeanEmbedding(self.count + other.count, self.total + other.total)

    @property
    def mean(self) -> Doubles:
        """`[D]`."""
        return self.total / self.count


def squared_mmd(window: MeanEmbedding, reference: MeanEmbedding) -> float:
    """|mean of the window - mean of the reference|^2, in [0, 4] (Gretton et al. 2012, eq. 5: the biased form)."""
    apart = window.mean - reference.mean
    return float(apart @ apart)


def mmd_null(embedded: Doubles, size: int, draws: int, random: np.random.Generator) -> NullScores:
    """What `squared_mmd` is where nothing changed; `embedded` `[T, D]` are the reference's rows."""
    whole = MeanEmbedding.of(embedded)

    def distance(rows: Doubles) -> float:
        return squared_mmd(MeanEmbedding.of(rows), whole)

    return NullScores.of(embedded, distance, size, draws, random)


def _median_distance(rows: Doubles, random: np.random.Generator) -> float:
    """Of pairs of distinct rows; 1 where they are mostly alike."""
    first = random.integers(len(rows), size=_PAIRS)
    second = (first + random.integers(1, len(rows), size=_PAIRS)) % len(rows)
    median = float(np.median(np.linalg.norm(rows[first] - rows[second], axis=1)))
    return median or 1.0
