"""Decisions of a log beside what the target policy would have done: columns, one row a decision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent_core.types import Doubles, Integers


@dataclass(frozen=True, slots=True, eq=False)
class LoggedDecisions:
    """T decisions of a behaviour policy, with the action set that each had.

    `reward`: `[T]`. `propensity`: `[T]` in (0, 1], of the action that was taken. `action`: `[T]` int64,
    its position in the set. `target`: `[N]`, the target policy's probability of each available action,
    which sum to 1 within a set. `offsets`: `[T + 1]` int64 from 0; the set of decision t is rows
    `offsets[t]:offsets[t + 1]`, never empty.
    """

    reward: Doubles
    propensity: Doubles
    action: Integers
    target: Doubles
    offsets: Integers

    def ratio(self) -> Doubles:
        """`[T]`: how much likelier the target policy was to do what was done; 1 on average."""
        return self.taken(self.target) / self.propensity

    def taken(self, values: Doubles) -> Doubles:
        """`[T]`: `values` `[N]` of the actions that were taken."""
        taken: Doubles = values[self.offsets[:-1] + self.action]
        return taken

    def expected(self, values: Doubles) -> Doubles:
        """`[T]`: the mean of `values` `[N]` under the target policy."""
        return segment_sum(self.target * values, self.offsets)


def segment_sum(values: Doubles, offsets: Integers) -> Doubles:
    """`[B, ...]`: sums of `values` `[N, ...]` from one of `offsets` `[B + 1]` to the next; none is empty."""
    sums: Doubles = np.add.reduceat(values, offsets[:-1])
    return sums
