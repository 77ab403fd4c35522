"""Means of rewards in a declared range, with an interval that holds at every moment and for every size.

The empirical-Bernstein confidence sequence with predictable plug-in bets (Waudby-Smith & Ramdas 2024, Theorem 2).
It asks for no asymptotics, and pays with twice the rows that the asymptotic one needs. Letters: T rows, d columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from agent_core.monitoring.confidence_sequences import Interval
from agent_core.monitoring.evidence import Span
from agent_core.monitoring.storage import Stored
from agent_core.types import Doubles

_LARGEST_BET: Final = 0.5
"""The authors' choice: the price grows without bound towards 1."""


@dataclass(frozen=True, slots=True, eq=False)
class BernsteinSums(Stored):
    """Of `count` values x that were scaled to [0, 1]; `[d]` each.

    `total`: sum of x. `squares`: of (x - mean so far)^2. `bets`, `won`: of bets l and of l x. `price`: of
    4 (x - mean before)^2 (-ln(1 - l) - l) / 4. Bets depend on `alpha`, so this is one of two ends at `alpha`.
    """

    alpha: float
    count: int
    total: Doubles
    squares: Doubles
    bets: Doubles
    won: Doubles
    price: Doubles

    @classmethod
    def start(cls, alpha: float, columns: int = 1) -> BernsteinSums:
        return cls(alpha, 0, *np.zeros((5, columns)))

    def after(self, values: Doubles, span: Span) -> BernsteinSums:
        """With `values` `[T, d]` in the declared `span`, in their order: a bet knows only what came before it."""
        x = span.scaled(values)
        place = np.arange(self.count + 1, self.count + len(x) + 1, dtype=np.float64)[:, None]
        means = (0.5 + self.total + np.cumsum(x, 0)) / (place + 1)
        before = np.concatenate([_mean_so_far(self.total, self.count), means[:-1]])
        steps = np.cumsum((x - means) ** 2, 0)
        known = self.squares + np.concatenate([np.zeros((1, x.shape[1])), steps[:-1]])
        bets = self._bets((0.25 + known) / place, place)
        price = (x - before) ** 2 * (-np.log1p(-bets) - bets)
        return BernsteinSums(
            self.alpha,
            self.count + len(x),
            self.total + x.sum(0),
            self.squares + steps[-1],
            self.bets + bets.sum(0),
            self.won + (bets * x).sum(0),
            self.price + price.sum(0),
        )

    def merged(self, other: BernsteinSums) -> BernsteinSums:
        """Of two streams with the same mean, each of which bet by itself: wealths multiply, so sums add."""
        count = self.count + other.count
        mine = (self.total, self.squares, self.bets, self.won, self.price)
        theirs = (other.total, other.squares, other.bets, other.won, other.price)
        return BernsteinSums(self.alpha, count, *(a + b for a, b in zip(mine, theirs, strict=True)))

    def interval(self, span: Span) -> Interval:
        """Of the mean, on the scale of `span`; either end is wrong, ever, with probability `alpha`."""
        if self.count == 0:
            width = np.ones_like(self.total)
            return Interval(span.low * width, span.high * width)
        center = self.won / self.bets
        radius = (self.price - math.log(self.alpha)) / self.bets
        ends = np.clip([center - radius, center + radius], 0.0, 1.0)
        low, high = span.low + (span.high - span.low) * ends
        return Interval(low, high)

    def _bets(self, variance: Doubles, place: Doubles) -> Doubles:
        """`[T, d]`: min(1/2, sqrt(2 ln(1/alpha) / (variance t ln(1 + t))))."""
        best = np.sqrt(-2 * math.log(self.alpha) / (variance * place * np.log1p(place)))
        return np.minimum(best, _LARGEST_BET)


def bernstein_difference(canary: BernsteinSums, stable: BernsteinSums, span: Span) -> Interval:
    """The canary's mean less the stable one's; either end is wrong with probability 2 alpha of the sums, so begin
    these with half of what is asked for. For `decide`. Where rows of both arms can be paired, sums of their
    differences need a third of the rows that this does."""
    ours, theirs = canary.interval(span), stable.interval(span)
    return Interval(ours.low - theirs.high, ours.high - theirs.low)


def _mean_so_far(total: Doubles, count: int) -> Doubles:
    """`[1, d]`, with one value of 1/2 before all others."""
    mean: Doubles = ((0.5 + total) / (count + 1))[None]
    return mean
