"""Which of several estimates to believe: the least noisy one that none with less bias contradicts."""

from __future__ import annotations

import math

import numpy as np

from agent_core.types import Doubles, Integers


def chosen(value: Doubles, width: Doubles, order: Integers | None = None) -> int:
    """The position of the estimate that SLOPE chooses among those of one estimator with several limits,
    rates or bandwidths (Su, Srinath & Krishnamurthy 2020).

    From the least biased on, estimates are taken as long as each is within its own width plus sqrt(6) - 1 of that
    of every one before; the narrowest that was taken is chosen. No bias needs to be known, only their order.

    `value`: `[H]`. `width`: `[H]`, half the confidence interval of each, such as two standard errors. `order`:
    `[H]` int64, positions from the least biased on; None where bias grows as the width falls (as in Tucker &
    Lee 2021), which does not hold of a self-normalized estimate.
    """
    places = np.argsort(-width, kind="stable") if order is None else order
    taken = 1
    for i in places[1:]:
        before = places[:taken]
        allowed = width[i] + (math.sqrt(6) - 1) * width[before]
        if (np.abs(value[i] - value[before]) > allowed).any():
            break
        taken += 1
    return int(places[width[places[:taken]].argmin()])
