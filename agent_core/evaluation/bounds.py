"""Numbers that the value of the target policy is above with a probability of 1 - `delta`, in (0, 0.5).

What each asks for: `student_t_lower` enough rows for the mean to be near normal; `empirical_bernstein_lower`
a bound on what one row can add, known beforehand (the largest that was seen is none); `truncated_lower` only
rows that are not negative: whose rewards may be, takes the least of them off first, and adds it to the bound.
All three hold for one look at the data; for many looks see `betting`.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from agent_core.evaluation.moments import Estimate
from agent_core.types import Doubles, Integers


def student_t_lower(estimate: Estimate, delta: float) -> float:
    """The lower end of Student's interval; `estimate.count` above 10."""
    quantile = _student_quantile(1 - delta, estimate.count - 1)
    return estimate.value - quantile * estimate.standard_error


def empirical_bernstein_lower(estimate: Estimate, width: float, delta: float) -> float:
    """Maurer & Pontil 2009, Theorem 4. `width`: the largest minus the smallest that a row can add.

    For means: a self-normalized estimate is none.
    """
    log_term, count = math.log(2 / delta), estimate.count
    spread = math.sqrt(2 * log_term * estimate.variance / count)
    return estimate.value - spread - 7 * width * log_term / (3 * (count - 1))


def truncated_lower(
    added: Doubles, limit: float, delta: float, counts: Integers | None = None
) -> float:
    """Bernstein's bound on the mean of min(added, `limit`), which is below that of `added` (Thomas,
    Theocharous & Ghavamzadeh 2015, Theorem 1 with one limit for all: HCOPE).

    `added`: `[T]`, what each row adds. `limit`: chosen without a look at these rows. `counts`: `[T]` int64, how
    many rows each of `added` stands for; None is one.

    Raises:
        ValueError: a row is negative.
    """
    require_not_negative(added)
    return empirical_bernstein_lower(_truncated(added, limit, counts), limit, delta)


def truncation_limit(
    added: Doubles, rows: int, delta: float, counts: Integers | None = None
) -> float:
    """The limit that promises the highest `truncated_lower` for `rows` other rows, judged by `added` `[M]`
    with `counts` `[M]`.

    The authors spend a twentieth of the log on this. Any limit gives a bound that holds, so a hundred of those
    that were seen are enough to try; 1 where nothing was.
    """
    promises = {}
    for limit in _some_of(added[added > 0]):
        seen = _truncated(added, limit, counts)
        expected = Estimate(seen.value, seen.variance, rows)
        promises[limit] = empirical_bernstein_lower(expected, limit, delta)
    return max(promises, key=promises.__getitem__, default=1.0)


def require_not_negative(added: Doubles) -> None:
    """
    Raises:
        ValueError: one of `added` `[T]` is negative, or no number. A bound would be too high and look fine.
    """
    if not (added >= 0).all():
        raise ValueError(
            f"a row adds {added.min()} but this bound needs 0 or more; take the least reward off all rewards"
        )


def _some_of(values: Doubles) -> list[float]:
    """A hundred of `values`, evenly by rank; all if there are fewer, and none of none."""
    ranks = np.linspace(0, len(values) - 1, min(len(values), 100)).astype(np.int64)
    some: list[float] = np.unique(np.sort(values)[ranks]).tolist()
    return some


def _truncated(added: Doubles, limit: float, counts: Integers | None) -> Estimate:
    kept = np.minimum(added, limit)
    rows = np.ones(len(kept), np.int64) if counts is None else counts
    total = int(rows.sum())
    mean = float(rows @ kept) / total
    return Estimate(mean, float(rows @ (kept - mean) ** 2) / (total - 1), total)


def _student_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t by Cornish and Fisher's expansion (Abramowitz & Stegun 1964, 26.7.5).

    Relative errors are below 2e-4 from 10 degrees of freedom on, for probabilities up to 0.999.
    """
    z = NormalDist().inv_cdf(probability)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + first / freedom + second / freedom**2 + third / freedom**3 + fourth / freedom**4
