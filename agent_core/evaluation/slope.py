"""Which of several estimates to believe: the least noisy one that none with less bias contradicts."""

from __future__ import annotations

import math

import numpy as np

from agent_core.types import Doubles


def chosen(value: Doubles, width: Doubles) -> int:
    """The position of the estimate that SLOPE chooses among those of one estimator with several limits,
    rates or bandwidths (Su, Srinath & Krishnamurthy 2020; ordered by width as in Tucker & Lee 2021).

    From the widest on, estimates are taken as long as each is within its own width plus sqrt(6) - 1 of that
    of every one before. No bias needs to be known, only that it grows as the width falls.

    `value`: `[H]`. `width`: `[H]`, half the confidence interval of each, such as two standard errors.
    """
    order = np.argsort(-width, kind="stable")
    for place, i in enumerate(order):
        before = order[:place]
        allowed = width[i] + (math.sqrt(6) - 1) * width[before]
        if (np.abs(value[i] - value[before]) > allowed).any():
            return int(order[place - 1])
    return int(order[-1])
