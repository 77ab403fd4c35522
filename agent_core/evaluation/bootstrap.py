"""What estimates would have been on other logs of the same kind, by drawing rows again. Letters: R replicates.

A replicate counts every row 0 times or more. Counts that are drawn apart for each row (Poisson with mean 1:
Chamandy et al. 2012) need not know how many rows there are, so shards of a log are summed apart and added.
"""

from __future__ import annotations

import numpy as np

from agent_core.evaluation.terms import Terms
from agent_core.types import Doubles, Integers


def poisson_counts(generator: np.random.Generator, replicates: int, rows: int) -> Integers:
    """`[R, T]` int64: how often each replicate has each row."""
    return generator.poisson(1.0, (replicates, rows))


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


def _shares(above: Doubles, below: Doubles) -> Doubles:
    """`[R]` quotients; NaN where `below` is 0."""
    shares: Doubles = np.divide(above, below, out=np.full_like(above, np.nan), where=below != 0)
    return shares
