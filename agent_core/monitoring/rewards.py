"""Is the reward still what was meant? Its components against their total, its range, and jumps.

A policy that found a way around the reward earns a total that one component alone makes, or more than anybody ever
did. Letters: T rewards, C components.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent_core.monitoring.moments import ColumnMoments, mean_z
from agent_core.monitoring.storage import Stored
from agent_core.types import Doubles, Integers


@dataclass(frozen=True, slots=True, eq=False)
class RewardSums(Stored):
    """`columns`: moments of C components and, last, of the total. `with_total`: `[C + 1]`, sums of products of the
    distances from both means. `outside`: `[C + 1]` int64, how many were out of the declared range."""

    columns: ColumnMoments
    with_total: Doubles
    outside: Integers

    @classmethod
    def of(cls, components: Doubles, total: Doubles, low: Doubles, high: Doubles) -> RewardSums:
        """`components`: `[T, C]`, `total`: `[T]`, at least one row. `low`, `high`: `[C + 1]`, the declared range of
        each and of the total; infinite where there is none."""
        rows = np.column_stack([components, total])
        columns = ColumnMoments.of(rows)
        apart = rows - columns.mean
        return cls(columns, apart.T @ apart[:, -1], ((rows < low) | (rows > high)).sum(0))

    def merged(self, other: RewardSums) -> RewardSums:
        """Of both sets of rows (Chan, Golub & LeVeque 1983)."""
        mine, theirs = self.columns, other.columns
        apart = theirs.mean - mine.mean
        between = apart * apart[-1] * (mine.count * theirs.count / (mine.count + theirs.count))
        with_total = self.with_total + other.with_total + between
        return RewardSums(mine.merged(theirs), with_total, self.outside + other.outside)

    @property
    def correlations(self) -> Doubles:
        """`[C]`: of each component with the total; 0 where either is constant."""
        scatter, constant = self.columns.scatter, self.columns.is_constant
        some = ~(constant[:-1] | constant[-1])
        scale = np.where(some, np.sqrt(scatter[:-1] * scatter[-1]), 1.0)
        found = np.where(some, self.with_total[:-1] / scale, 0.0)
        clipped: Doubles = np.clip(found, -1.0, 1.0)
        return clipped


def correlation_z(window: RewardSums, reference: RewardSums) -> Doubles:
    """`[C]`: how many standard errors each correlation with the total is above the reference's; far below 0 where it
    collapsed.

    By Fisher's transform, whose error is sqrt(1 / (n - 3) + 1 / (m - 3)) for normal rewards; heavy tails need a
    threshold further out. 0 with fewer than 10 rows on either side.
    """
    n, m = window.columns.count, reference.columns.count
    if min(n, m) < 10:
        return np.zeros(len(window.with_total) - 1)
    apart = _fisher(window.correlations) - _fisher(reference.correlations)
    z: Doubles = apart / np.sqrt(1 / (n - 3) + 1 / (m - 3))
    return z


def jump_z(window: RewardSums, reference: RewardSums) -> Doubles:
    """`[C + 1]`: how many standard errors each mean is above the reference's; too good to be true where it is far
    above 0 while guard metrics do not move."""
    return mean_z(window.columns, reference.columns)


def _fisher(correlations: Doubles) -> Doubles:
    inside: Doubles = np.clip(correlations, -1 + 1e-12, 1 - 1e-12)
    transformed: Doubles = np.arctanh(inside)
    return transformed
