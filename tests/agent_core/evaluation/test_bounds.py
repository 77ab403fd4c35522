"""Lower bounds: by hand, and how often they fail."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest

from agent_core.evaluation.betting import Tally, betting_lower
from agent_core.evaluation.bootstrap import (
    bootstrap_lower,
    plain_replicates,
    poisson_counts,
    replicate_sums,
    self_normalized_replicates,
)
from agent_core.evaluation.bounds import (
    empirical_bernstein_lower,
    student_t_lower,
    truncated_lower,
    truncation_limit,
)
from agent_core.evaluation.moments import Estimate, Moments, plain, self_normalized
from agent_core.evaluation.terms import Terms, importance
from agent_core.types import Doubles


@pytest.mark.parametrize(
    ("freedom", "delta", "quantile"),
    # From tables; the last is the normal one.
    [(10, 0.05, 1.8125), (30, 0.05, 1.6973), (30, 0.01, 2.4573), (10**9, 0.05, 1.6449)],
)
def test_student_takes_off_the_quantile_of_the_table(
    freedom: int, delta: float, quantile: float
) -> None:
    # A standard error of 1.
    estimate = Estimate(value=5.0, variance=freedom + 1.0, count=freedom + 1)

    assert student_t_lower(estimate, delta) == pytest.approx(5 - quantile, abs=5e-5)


def test_bernstein_takes_off_the_spread_and_the_price_of_the_width() -> None:
    # ln(2 / delta) = 2: sqrt(2 * 2 * 25 / 100) = 1, and 7 * 99 * 2 / (3 * 99) = 14/3.
    estimate = Estimate(value=10.0, variance=25.0, count=100)

    lower = empirical_bernstein_lower(estimate, width=99.0, delta=2 * math.exp(-2))

    assert lower == pytest.approx(10 - 1 - 14 / 3)


def test_a_truncated_bound_is_that_of_truncated_rows() -> None:
    # (0, 1, 1, 1) is left: mean 0.75, variance (0.5625 + 3 * 0.0625) / 3 = 0.25; ln(2 / delta) = 2.
    lower = truncated_lower(np.array([0.0, 1, 5, 90]), limit=1.0, delta=2 * math.exp(-2))

    assert lower == pytest.approx(0.75 - math.sqrt(2 * 2 * 0.25 / 4) - 7 * 2 / 9)


def test_the_limit_weighs_what_it_cuts_off_against_its_price() -> None:
    added = np.array([0.0] * 10 + [1.0] * 9 + [100.0])

    # With few rows 100 costs more than it brings, with many it is all that counts.
    assert truncation_limit(added, rows=100, delta=0.05) == 1.0
    assert truncation_limit(added, rows=100_000, delta=0.05) == 100.0


def test_the_limit_of_a_log_without_reward_is_some_limit() -> None:
    assert truncation_limit(np.zeros(5), rows=100, delta=0.05) == 1.0


@pytest.mark.parametrize("bound", [lambda rows: truncated_lower(rows, 1.0, 0.1), Tally.of])
@pytest.mark.parametrize("bad", [-3.0, math.nan])
def test_a_bound_that_would_be_wrong_for_negative_rows_refuses_them(
    bound: Callable[[Doubles], object], bad: float
) -> None:
    with pytest.raises(ValueError, match="take the least reward off"):
        bound(np.array([1.0, bad]))


def test_the_quantile_of_replicates_is_a_bound() -> None:
    assert bootstrap_lower(np.arange(101.0), 0.05) == 5.0


def test_a_replicate_is_the_estimate_of_the_rows_that_it_has() -> None:
    rows = importance(np.array([1.0, 0.0, 2.0]), np.array([0.5, 1.5, 2.0]))

    # Twice the first, none of the second, once the third; in shards of two and one.
    first = replicate_sums(Terms(*[c[:2] for c in _columns(rows)]), np.array([[2, 0]]))
    rest = replicate_sums(Terms(*[c[2:] for c in _columns(rows)]), np.array([[1]]))

    # (2 * 0.5 + 4) / 3, and (2 * 0.5 + 4) / (2 * 0.5 + 2).
    assert plain_replicates(first + rest) == pytest.approx([5 / 3])
    assert self_normalized_replicates(first + rest) == pytest.approx([5 / 3])


def test_a_replicate_without_weight_has_no_bound() -> None:
    sums = replicate_sums(importance(np.ones(2), np.array([0.0, 1.0])), np.array([[1, 0], [1, 1]]))

    assert math.isnan(bootstrap_lower(self_normalized_replicates(sums), 0.05))


def test_replicates_scatter_as_much_as_the_standard_error_says() -> None:
    generator = np.random.default_rng(0)
    weight = generator.lognormal(0, 0.5, 2000)
    rows = importance(generator.normal(3.0, 1.0, 2000), weight)

    sums = replicate_sums(rows, poisson_counts(np.arange(2000), 1000, seed=4))

    moments = Moments.of(rows)
    # The standard deviation of 1000 numbers is known to 1 / sqrt(2000) = 2.2 %; four times that.
    for replicates, estimate in (
        (plain_replicates(sums), plain(moments)),
        (self_normalized_replicates(sums), self_normalized(moments)),
    ):
        assert replicates.std() == pytest.approx(estimate.standard_error, rel=0.09)


def _columns(rows: Terms) -> tuple[Doubles, Doubles, Doubles]:
    return rows.model, rows.correction, rows.weight


def _student(added: Doubles, delta: float) -> float:
    return student_t_lower(_mean(added), delta)


def _bernstein(added: Doubles, delta: float) -> float:
    return empirical_bernstein_lower(_mean(added), width=10.0, delta=delta)


def _truncated(added: Doubles, delta: float) -> float:
    limit = truncation_limit(added[:100], rows=len(added) - 100, delta=delta)
    return truncated_lower(added[100:], limit, delta)


def _betting(added: Doubles, delta: float) -> float:
    return betting_lower(Tally.of(added), delta)


def _mean(added: Doubles) -> Estimate:
    return plain(Moments.of(importance(added, np.ones_like(added))))


_LOGS, _ROWS, _DELTA = 400, 1000, 0.1


@pytest.mark.parametrize("bound", [_student, _bernstein, _truncated, _betting])
def test_a_bound_is_wrong_no_more_often_than_it_says(
    bound: Callable[[Doubles, float], float],
) -> None:
    generator = np.random.default_rng(1)
    # The target takes an action that the log takes once in ten; it is rewarded half of the time.
    logs = 10.0 * generator.binomial(1, 0.1 * 0.5, (_LOGS, _ROWS))

    lower = np.array([bound(log, _DELTA) for log in logs])

    # 40 of 400 may be above the true 0.5; with chance, 1 in 1000 tests would have more than 59.
    allowed = _LOGS * _DELTA + NormalDist().inv_cdf(0.999) * math.sqrt(_LOGS * _DELTA * 0.9)
    assert (lower > 0.5).sum() <= allowed
    assert lower.mean() > 0.1
