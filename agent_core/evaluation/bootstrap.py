"""What estimates would have been on other logs of the same kind, by drawing rows again. Letters: R replicates.

A replicate counts every row 0 times or more. Counts that are drawn apart for each row (Poisson with mean 1:
Chamandy et al. 2012) need not know how many rows there are, so shards of a log are summed apart and added.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from agent_core.evaluation.terms import Terms
from agent_core.types import Doubles, Integers

_Words: TypeAlias = npt.NDArray[np.uint64]

_AT_MOST: Final[Doubles] = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(18)])
"""Of a Poisson number with mean 1: the probabilities of 0, of at most 1, and so on; beyond 17 lies 6e-17."""


def poisson_counts(keys: Integers, replicates: int, seed: int) -> Integers:
    """`[R, T]` int64: how often each replicate has each row.

    A function of each row's own key, so whoever cuts a log into other shards draws the same. `keys`: `[T]`
    int64, such as hashes of names. `seed`: from 0 to 2^63 - 1.
    """
    drawn = uniforms(keys, replicates, seed)
    return np.searchsorted(_AT_MOST, drawn, "right").astype(np.int64)


def uniforms(keys: Integers, count: int, seed: int) -> Doubles:
    """`[count, T]` in [0, 1), drawn for each of `keys` `[T]` int64 apart, and all from `seed`."""
    each = _mixed(keys.astype(np.uint64) + _mixed(np.array([seed], np.uint64)))
    words = _mixed(each + np.arange(1, count + 1, dtype=np.uint64)[:, None] * _GOLDEN)
    drawn: Doubles = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return drawn


def replicate_sums(terms: Terms, counts: Integers) -> Doubles:
    """`[R, 4]`: rows, model, correction and weight of each replicate; those of shards are added.

    `counts`: `[R, T]` int64, how often each replicate has each row.
    """
    ones = np.ones_like(terms.weight)
    rows = np.stack([ones, terms.model, terms.correction, terms.weight], 1)
    sums: Doubles = counts.astype(np.float64) @ rows
    return sums


def plain_replicates(sums: Doubles) -> Doubles:
    """`[R]`: `moments.plain` of each replicate, from their `sums` `[R, 4]`."""
    rows, model, correction, _ = sums.T
    return _shares(model + correction, rows)


def self_normalized_replicates(sums: Doubles) -> Doubles:
    """`[R]`: `moments.self_normalized` of each replicate, from their `sums` `[R, 4]`."""
    rows, model, correction, weight = sums.T
    return _shares(model, rows) + _shares(correction, weight)


def bootstrap_lower(replicates: Doubles, delta: float) -> float:
    """The `delta`-quantile, in (0, 1), of estimates of replicates `[R]` (Efron's percentile method); NaN if
    the log is so thin that one of them has no weight at all."""
    return float(np.quantile(replicates, delta))


def _mixed(words: _Words) -> _Words:
    """Mixed 64-bit words (Steele, Lea & Flood 2014: splitmix64); overflow is meant."""
    z = words + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    mixed: _Words = z ^ (z >> np.uint64(31))
    return mixed


_GOLDEN: Final = np.uint64(0x9E37_79B9_7F4A_7C15)


def _shares(above: Doubles, below: Doubles) -> Doubles:
    """`[R]` quotients; NaN where `below` is 0."""
    shares: Doubles = np.divide(above, below, out=np.full_like(above, np.nan), where=below != 0)
    return shares
