"""Observations beside those of the reference: one feature at a time, all together, and their moments.

The reference is made once from the raw rows of the first decisions; windows are sums only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from agent_core.monitoring.histograms import Bins, Counts, psi, psi_p_values
from agent_core.monitoring.moments import ColumnMoments, gaussian_kl
from agent_core.monitoring.nulls import NullScores
from agent_core.monitoring.random_features import (
    MeanEmbedding,
    RandomFeatures,
    mmd_null,
    squared_mmd,
)
from agent_core.monitoring.storage import Stored
from agent_core.monitoring.tails import bonferroni
from agent_core.types import Doubles
from service.monitoring.readings import Reading, finite
from service.monitoring.rows import Seen

_DIM: Final = 128
"""Random features. More see finer differences, and every window costs as many more numbers."""
_DRAWS: Final = 1_999
"""Windows drawn from the reference, so that the smallest p-value is 1 in 2,000."""
_SEVERE: Final = 0.001


@dataclass(frozen=True, slots=True, eq=False)
class StateSums(Stored):
    """Of encoded observations."""

    counts: Counts
    moments: ColumnMoments
    embedding: MeanEmbedding

    def merged(self, other: StateSums) -> StateSums:
        return StateSums(
            self.counts.merged(other.counts),
            self.moments.merged(other.moments),
            self.embedding.merged(other.embedding),
        )


@dataclass(frozen=True, slots=True, eq=False)
class StateReference(Stored):
    """What windows are summed with and compared to. `mmd`, `kl`: distances of windows of the reference itself."""

    bins: Bins
    features: RandomFeatures
    sums: StateSums
    mmd: NullScores
    kl: NullScores

    @classmethod
    def of(cls, rows: Doubles, window: int, random: np.random.Generator) -> StateReference:
        """`rows`: `[T, O]`, twice as many as `window` or more. Takes a second or so: call it beside the loop."""
        bins, features = Bins.of(rows), RandomFeatures.of(rows, _DIM, random)
        embedded = features.embed(rows)
        whole = ColumnMoments.of(rows)

        def divergence(some: Doubles) -> float:
            # A window in which a column is constant is infinitely far by this measure.
            return finite(gaussian_kl(ColumnMoments.of(some), whole))

        return cls(
            bins,
            features,
            _sums(bins, features, rows),
            mmd_null(embedded, window, _DRAWS, random),
            NullScores.of(rows, divergence, window, _DRAWS, random),
        )


@dataclass(frozen=True, slots=True)
class States:
    """`reference`: None while it is being collected; then nothing is summed. `p_value`: below it, the window differs."""

    reference: StateReference | None
    p_value: float
    name: str = "states"
    kind: Any = StateSums

    def of(self, rows: Sequence[Seen]) -> StateSums | None:
        if self.reference is None:
            return None
        found = [row.observation for row in rows if row.observation is not None]
        if not found:
            return None
        return _sums(self.reference.bins, self.reference.features, np.stack(found).astype(float))

    def read(self, window: StateSums, reference: Any, before: Any) -> list[Reading]:
        if self.reference is None:
            return []
        return [
            self._psi(window, self.reference),
            self._mmd(window, self.reference),
            self._kl(window, self.reference),
        ]

    def _psi(self, window: StateSums, reference: StateReference) -> Reading:
        was, now = reference.sums.counts.rows, window.counts.rows
        p = bonferroni(psi_p_values(was, now))
        return self._reading("psi", float(psi(was, now).max()), p)

    def _mmd(self, window: StateSums, reference: StateReference) -> Reading:
        distance = squared_mmd(window.embedding, reference.sums.embedding)
        p = reference.mmd.p_value(distance, window.embedding.count)
        return self._reading("mmd", distance, p, is_severe=p <= _SEVERE)

    def _kl(self, window: StateSums, reference: StateReference) -> Reading:
        distance = finite(gaussian_kl(window.moments, reference.sums.moments))
        return self._reading("kl", distance, reference.kl.p_value(distance, window.moments.count))

    def _reading(self, kind: str, value: float, p: float, *, is_severe: bool = False) -> Reading:
        return Reading(
            signal="states",
            kind=kind,
            value=value,
            limit=self.p_value,
            is_beyond=p <= self.p_value,
            p_value=p,
            is_severe=is_severe,
        )


def _sums(bins: Bins, features: RandomFeatures, rows: Doubles) -> StateSums:
    return StateSums(
        Counts.of(bins, rows),
        ColumnMoments.of(rows),
        MeanEmbedding.of(features.embed(rows)),
    )
