"""Means and variances of columns, and how far those of a window are from the reference's.

Letters: T rows, d columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from agent_core.monitoring.storage import Stored
from agent_core.monitoring.tails import chi_squared_tail, pair_count
from agent_core.types import Doubles, Mask

_ALIKE: Final = 1e-12
"""Of the mean: a deviation below it is rounding, and the column constant."""


@dataclass(frozen=True, slots=True, eq=False)
class ColumnMoments(Stored):
    """`count` rows, `mean` `[d]`, and `scatter` `[d]`, the sum of squared distances from the mean: sums of
    squares would lose their digits to a large mean."""

    count: int
    mean: Doubles
    scatter: Doubles

    @classmethod
    def of(cls, rows: Doubles) -> ColumnMoments:
        """`rows`: `[T, d]`, at least one."""
        mean = rows.mean(0)
        return cls(len(rows), mean, ((rows - mean) ** 2).sum(0))

    def merged(self, other: ColumnMoments) -> ColumnMoments:
        """Of both sets of rows (Chan, Golub & LeVeque 1983)."""
        count = self.count + other.count
        apart = other.mean - self.mean
        between = apart**2 * (self.count * other.count / count)
        mean = self.mean + apart * (other.count / count)
        return ColumnMoments(count, mean, self.scatter + other.scatter + between)

    @property
    def variance(self) -> Doubles:
        """`[d]`, divided by count - 1; infinite for a single row, which says nothing about it."""
        if self.count < 2:
            return np.full(len(self.mean), np.inf)
        return self.scatter / (self.count - 1)

    @property
    def is_constant(self) -> Mask:
        """`[d]`: all rows are alike, but for rounding."""
        deviation = np.sqrt(self.scatter / self.count)
        constant: Mask = deviation <= _ALIKE * np.abs(self.mean)
        return constant


def mean_z(window: ColumnMoments, baseline: ColumnMoments) -> Doubles:
    """`[d]`: how many standard errors the window's mean is above the baseline's.

    The error is that of a mean, s sqrt(1 / T + 1 / T_baseline), with the baseline's s: a window that changed
    cannot hide in its own spread. A single row's deviation in its place would never alarm. Where the baseline
    is constant: 0 for the same constant, else infinite.
    """
    apart = window.mean - baseline.mean
    error = np.sqrt(baseline.variance / pair_count(window.count, baseline.count))
    z = apart / np.where(baseline.is_constant, 1.0, error)
    is_same = np.abs(apart) <= _ALIKE * np.abs(baseline.mean)
    beyond = np.where(is_same, 0.0, np.copysign(np.inf, apart))
    return np.where(baseline.is_constant, beyond, z)


def cautious_mean(baseline: ColumnMoments, errors: float) -> Doubles:
    """`[d]`: the baseline's mean less `errors` of its standard errors.

    For detectors that are promised a mean which rewards do not fall below: one that was only measured may be
    too high, and then they alarm without a change.
    """
    return baseline.mean - errors * np.sqrt(baseline.variance / baseline.count)


def gaussian_kl(window: ColumnMoments, reference: ColumnMoments) -> float:
    """The Kullback-Leibler divergence of the window from the reference, were all columns normal and independent.

    Sum over columns of 1/2 (s^2/S^2 + (m - M)^2/S^2 - 1 - ln(s^2/S^2)); capitals are the reference's. Columns in
    which the reference is constant are left out: `histograms` sees them change. Infinite where the window has
    become constant in a column.
    """
    some = ~reference.is_constant
    scale = reference.variance[some]
    ratio = window.variance[some] / scale
    apart = (window.mean[some] - reference.mean[some]) ** 2 / scale
    with np.errstate(divide="ignore"):
        return float(0.5 * (ratio + apart - 1 - np.log(ratio)).sum())


def kl_p_value(window: ColumnMoments, reference: ColumnMoments) -> float:
    """The probability of a `gaussian_kl` as large, where nothing changed and columns are normal and independent.

    Twice the divergence times n m / (n + m) is then about chi-squared with two degrees of freedom a column. Other
    columns break it: of unchanged windows of letters 13 % are below 0.01. Take `nulls` for those.
    """
    freedom = 2 * int((~reference.is_constant).sum())
    statistic = 2 * pair_count(window.count, reference.count) * gaussian_kl(window, reference)
    return chi_squared_tail(max(statistic, 0.0), freedom) if freedom else 1.0
