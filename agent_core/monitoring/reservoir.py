"""A sample of rows to look at, of bounded size, from any number of parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent_core.monitoring.storage import Stored
from agent_core.types import Doubles


@dataclass(frozen=True, slots=True, eq=False)
class Reservoir(Stored):
    """At most `size` of all `seen` rows, each set of them equally likely: those with the smallest random keys.

    `keys`: `[M]` ascending in [0, 1). `rows`: `[M, d]`.
    """

    size: int
    seen: int
    keys: Doubles
    rows: Doubles

    @classmethod
    def of(cls, rows: Doubles, size: int, random: np.random.Generator) -> Reservoir:
        """`rows`: `[T, d]`. Parts that are merged need keys from generators of different seeds."""
        return _smallest(size, len(rows), random.random(len(rows)), rows)

    def merged(self, other: Reservoir) -> Reservoir:
        keys = np.concatenate([self.keys, other.keys])
        rows = np.concatenate([self.rows, other.rows])
        return _smallest(self.size, self.seen + other.seen, keys, rows)


def _smallest(size: int, seen: int, keys: Doubles, rows: Doubles) -> Reservoir:
    kept = np.argsort(keys, kind="stable")[:size]
    return Reservoir(size, seen, keys[kept], rows[kept])
