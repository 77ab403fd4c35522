"""How probable a statistic this large is where nothing has changed."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from agent_core.types import Doubles

_TINY: Final = 1e-300
_TERMS: Final = 10_000
"""A bound that is not met: about 6 sqrt(freedom) terms are needed."""


def chi_squared_tail(statistic: float, freedom: int) -> float:
    """The probability that chi-squared with `freedom` >= 1 degrees of freedom is at least `statistic` >= 0.

    The regularised upper incomplete gamma function Q(freedom / 2, statistic / 2), by its series below the
    mean and by its continued fraction above (Press et al. 2007, section 6.2). Relative error below 1e-9.
    """
    shape, at = freedom / 2, statistic / 2
    if at <= 0:
        return 1.0
    if math.isinf(at):
        return 0.0
    front = math.exp(shape * math.log(at) - at - math.lgamma(shape))
    if at < shape + 1:
        return max(0.0, 1.0 - front * _series(shape, at))
    return front * _continued_fraction(shape, at)


def normal_tail(z: float) -> float:
    """The probability that a standard normal number is at least `z`."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def bonferroni(p_values: Doubles) -> float:
    """One p-value for all of `p_values` `[d]`, whatever their dependence: the smallest, times their number."""
    return min(1.0, float(p_values.min()) * len(p_values))


def pair_count(first: int, second: int) -> float:
    """1 / (1 / `first` + 1 / `second`): squared distances of two samples times this do not depend on sizes."""
    return first * second / (first + second)


def upper_tails(statistics: Doubles, freedoms: Doubles) -> Doubles:
    """`[d]`: `chi_squared_tail` of each; 1 where there are no degrees of freedom."""
    pairs = zip(statistics.tolist(), freedoms.tolist(), strict=True)
    return np.array([chi_squared_tail(x, int(k)) if k >= 1 else 1.0 for x, k in pairs])


def _series(shape: float, at: float) -> float:
    """P(shape, at) / front: sum over n of at^n / (shape (shape + 1) ... (shape + n))."""
    term = total = 1.0 / shape
    for n in range(1, _TERMS):
        term *= at / (shape + n)
        total += term
        if term < total * 1e-16:
            break
    return total


def _continued_fraction(shape: float, at: float) -> float:
    """Q(shape, at) / front, by Lentz's method."""
    b = at + 1 - shape
    c = 1 / _TINY
    d = 1 / b
    fraction = d
    for n in range(1, _TERMS):
        a = n * (shape - n)
        b += 2
        d = 1 / _away_from_0(a * d + b)
        c = _away_from_0(b + a / c)
        fraction *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return fraction


def _away_from_0(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
