"""What each value says for a change, as the log of a ratio that is 1 or less on average while there is none.

Detectors add these logs. All take `[T]` and give `[T]`; the sum over a window is what the window says.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from agent_core.types import Doubles


class Span(NamedTuple):
    """The declared range of rewards or costs, `low` below `high`."""

    low: float
    high: float

    def scaled(self, values: Doubles) -> Doubles:
        """To [0, 1]. What is outside is cut off: a detector must survive it, and `rewards` counts it."""
        return np.clip((values - self.low) / (self.high - self.low), 0.0, 1.0)

    def share(self, value: float) -> float:
        """`value` on the scale on which `low` is 0 and `high` is 1."""
        return (value - self.low) / (self.high - self.low)


def bernoulli_log_ratio(successes: Doubles, baseline: float, changed: float) -> Doubles:
    """Of rewards 0 and 1: how much likelier they are at the rate `changed` than at `baseline`, both in (0, 1)."""
    of_success = math.log(changed / baseline)
    of_failure = math.log((1 - changed) / (1 - baseline))
    return of_failure + successes * (of_success - of_failure)


def drop_log_ratio(rewards: Doubles, span: Span, baseline: float, bet: float) -> Doubles:
    """ln(1 + `bet` (baseline - reward)) on the scale of `span`: for a mean below `baseline`, whatever the
    distribution (Shin, Ramdas & Rinaldo 2022).

    `bet`: from `drop_bet`, in (0, 1 / (1 - baseline)) on that scale.
    """
    return np.log1p(bet * (span.share(baseline) - span.scaled(rewards)))


def rise_log_ratio(costs: Doubles, span: Span, budget: float, bet: float) -> Doubles:
    """ln(1 + `bet` (cost - budget)) on the scale of `span`: for a mean above `budget`, whatever the distribution.

    `bet`: from `rise_bet`, in (0, 1 / budget) on that scale.
    """
    return np.log1p(bet * (span.scaled(costs) - span.share(budget)))


def drop_bet(span: Span, baseline: float, variance: float, changed: float) -> float:
    """The bet that grows fastest if the mean falls from `baseline` to `changed` and the variance stays.

    The optimum of E ln(1 + bet x) to second order, E x / E x^2 (Waudby-Smith & Ramdas 2024, aGRAPA), and at most
    half of the bet that a single reward of 1 would lose all with.
    """
    return _bet(span, baseline - changed, variance, 1 - span.share(baseline))


def rise_bet(span: Span, budget: float, variance: float, changed: float) -> float:
    """The same for a mean that rises from `budget` to `changed`."""
    return _bet(span, changed - budget, variance, span.share(budget))


def _bet(span: Span, step: float, variance: float, worst: float) -> float:
    """`worst`: in (0, 1), what one value can take from the sum."""
    width = span.high - span.low
    scaled = step / width
    return min(scaled / (variance / width**2 + scaled**2), 0.5 / max(worst, 1e-12))
