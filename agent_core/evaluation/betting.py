"""A lower bound that holds at every moment, however often one looks and whenever one stops.

Somebody bets that the mean is above m, with part of the wealth on every row. Were the mean m, wealth could
not be expected to grow, so it ever reaches 1 / delta with probability delta at most (Ville's inequality):
whatever m has made somebody that rich is refuted. Nothing bounds the rows, they only may not be negative, and
the behaviour policy may have changed along the way (Karampatziakis, Mineiro & Ramdas 2021; Waudby-Smith et
al. 2022). Bets are fixed shares here, where the papers tune them: then the order of rows does not matter, and
shards of a log can be counted apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from agent_core.evaluation.bounds import require_not_negative
from agent_core.types import Doubles, Integers

_SHARES: Final[Doubles] = np.geomspace(1e-4, 0.5, 20)
"""Of the wealth: the average over them stands for the best one, at the price of a factor of 20 in delta."""
_STEPS_PER_DOUBLING: Final = 128
_HALVINGS: Final = 60
"""Of the interval from 0 to the mean: beyond it, doubles do not tell bounds apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """How often each value came: `values` `[H]` ascending, `counts` `[H]` int64. Values are rounded down to a
    grid of 128 steps for each doubling, which keeps H small and costs a bound 0.6 % at most."""

    values: Doubles
    counts: Integers

    @classmethod
    def of(cls, added: Doubles) -> Tally:
        """`added`: `[T]`, what each row adds to an estimate.

        Raises:
            ValueError: a row is negative.
        """
        require_not_negative(added)
        counts = np.ones(len(added), np.int64)
        return _summed(_rounded_down(added), counts)

    def merged(self, other: Tally) -> Tally:
        values = np.concatenate([self.values, other.values])
        return _summed(values, np.concatenate([self.counts, other.counts]))


def betting_lower(tally: Tally, delta: float) -> float:
    """The highest mean that is refuted at `delta` in (0, 1), and so every one below it; 0 if none is."""
    low, high = 0.0, float(tally.values @ tally.counts / tally.counts.sum())
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        is_refuted = middle > 0 and _log_wealth(tally, middle) >= -math.log(delta)
        low, high = (middle, high) if is_refuted else (low, middle)
    return low


def _log_wealth(tally: Tally, mean: float) -> float:
    """The log of what 1 has become by bets against `mean`; it falls in `mean`.

    With the share c, a row x multiplies the wealth by 1 + c (x / mean - 1).
    """
    logs = np.log1p(np.outer(_SHARES, tally.values / mean - 1)) @ tally.counts
    top = logs.max()
    return float(top + np.log(np.exp(logs - top).mean()))


def _rounded_down(added: Doubles) -> Doubles:
    rounded = np.zeros(len(added))
    some = added > 0
    steps = np.floor(_STEPS_PER_DOUBLING * np.log2(added[some]))
    rounded[some] = np.exp2(steps / _STEPS_PER_DOUBLING)
    return rounded


def _summed(values: Doubles, counts: Integers) -> Tally:
    distinct, rows = np.unique(values, return_inverse=True)
    totals = np.zeros(len(distinct), np.int64)
    np.add.at(totals, rows, counts)
    return Tally(distinct, totals)
