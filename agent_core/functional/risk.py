"""What each of K equally likely returns counts for whoever fears, or seeks, the extremes.

`[K]` float64 weights that sum to 1, for returns in ascending order. Each is a distortion h of [0, 1] onto
itself: weight i is h((i + 1) / K) - h(i / K), so the sum is the integral of the quantile function over
h, and the plain mean where h is the identity.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from agent_core.types import Doubles


def cvar_weights(count: int, alpha: float) -> Doubles:
    """The mean of the worst share `alpha` in (0, 1]; 1 is the plain mean (Rockafellar & Uryasev 2000)."""
    return np.diff(np.minimum(_grid(count) / alpha, 1.0))


def var_weights(count: int, alpha: float) -> Doubles:
    """All on the `alpha`-quantile, `alpha` in (0, 1]: the lowest return that is not exceeded with probability
    `alpha` (the value-at-risk of Rockafellar & Uryasev 2000, of returns in place of losses)."""
    weights = np.zeros(count)
    # The slack takes back rounding: 0.07 * 100 is above 7.
    weights[max(math.ceil(alpha * count - 1e-9) - 1, 0)] = 1.0
    return weights


def wang_weights(count: int, eta: float) -> Doubles:
    """h(u) = Phi(Phi^-1(u) - `eta`): a negative `eta` fears bad returns, 0 is the plain mean (Wang 2000).

    The sign is that of Dabney et al. 2018b, who draw quantiles at Phi(Phi^-1(tau) + eta).
    """
    normal = NormalDist()
    inner = [normal.cdf(normal.inv_cdf(u) - eta) for u in _grid(count)[1:-1].tolist()]
    return np.diff(np.array([0.0, *inner, 1.0]))


def cpw_weights(count: int, eta: float) -> Doubles:
    """h(u) = u^eta / (u^eta + (1 - u)^eta)^(1 / eta) (Tversky & Kahneman 1992, eq. 6).

    `eta`: in [0.3, 1]; both extremes count more than they should, as they do for people; 0.71 is
    what Dabney et al. 2018b take from such studies. 1 is the plain mean. Below 0.28 h falls in places, and
    weights would be negative.
    """
    u = _grid(count)
    return np.diff(u**eta / (u**eta + (1 - u) ** eta) ** (1 / eta))


def _grid(count: int) -> Doubles:
    return np.arange(count + 1) / count
