"""A canary against the stable version: by hand, and how often it is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_core.monitoring.bernstein import BernsteinSums, bernstein_difference
from agent_core.monitoring.confidence_sequences import (
    Difference,
    Interval,
    Plan,
    asymptotic_interval,
    decide,
)
from agent_core.monitoring.evidence import Span
from agent_core.monitoring.moments import ColumnMoments
from agent_core.types import Doubles
from tests.agent_core.monitoring.strategies import assert_same, rows

_UNIT = Span(0.0, 1.0)
_PLAN = Plan(margin=0.01, n_min=100, n_max=1000)


def _arm(count: int, mean: float, variance: float) -> ColumnMoments:
    return ColumnMoments(count, np.array([mean]), np.array([variance * (count - 1)]))


def test_a_difference_has_the_variance_of_both_means() -> None:
    difference = Difference.of(_arm(100, 0.5, 9.0), _arm(900, 0.7, 4.5))

    # 9 / 100 + 4.5 / 900 = 0.095; were both alike, about 5 / 100 + 5 / 900.
    assert difference.size == 100
    assert difference.value == pytest.approx([-0.2])
    assert difference.variance == pytest.approx([0.095])


def test_an_arm_that_had_no_reward_yet_is_as_uncertain_as_both_together() -> None:
    difference = Difference.of(_arm(101, 0.0, 0.0), _arm(901, 0.7, 9.0))

    # 9 * 900 / 1000 = 8.1 for all rows, over 101 and 901 of them.
    assert difference.variance == pytest.approx([8.1 / 101 + 8.1 / 901])


def test_steps_are_compared_apart_and_then_averaged() -> None:
    # Both arms earn the same in either step; the canary has few rows of the good one and many of the bad one.
    good = Difference.of(_arm(100, 1.0, 1.0), _arm(900, 1.0, 1.0))
    bad = Difference.of(_arm(500, 0.0, 1.0), _arm(500, 0.0, 1.0))

    both = good.merged(bad)

    assert both.size == 600
    assert both.value == pytest.approx([0.0])
    # Shares of 1/6 and 5/6, squared, times 1/100 + 1/900 and 2/500.
    assert both.variance == pytest.approx([(1 / 36) * (1 / 90) + (25 / 36) * (1 / 250)])


def test_the_radius_is_that_of_the_formula() -> None:
    difference = Difference.of(_arm(2000, 0.4, 3.0), _arm(2000, 0.5, 1.0))

    interval = asymptotic_interval(difference, alpha=0.05, n_opt=1000)

    # rho^2 = (-2 ln 0.1 + ln(-2 ln 0.1 + 1)) / 1000, V = 4, n = 2000.
    rho2 = (4.605170186 + math.log(5.605170186)) / 1000
    root = 2 * (2000 * rho2 + 1) / (2000**2 * rho2) * math.log(math.sqrt(2000 * rho2 + 1) / 0.1)
    assert interval.high - difference.value == pytest.approx([2 * math.sqrt(root)])
    assert interval.low == pytest.approx(2 * difference.value - interval.high)


def test_the_interval_is_tightest_about_where_it_was_asked_to_be() -> None:
    def errors(size: int, n_opt: int) -> float:
        interval = asymptotic_interval(Difference.of(*[_arm(size, 0.0, 0.5)] * 2), 0.05, n_opt)
        return float(interval.high[0] * math.sqrt(size))

    at_1000 = {n_opt: errors(1000, n_opt) for n_opt in (100, 1000, 10_000)}
    assert min(at_1000, key=at_1000.__getitem__) == 1000
    assert 2.7 < at_1000[1000] < 2.8


def test_a_canary_that_is_surely_worse_is_rolled_back() -> None:
    assert decide(_interval(-0.3, -0.001), 100, _PLAN) == "roll back"


def test_a_canary_that_is_surely_not_much_worse_is_promoted() -> None:
    assert decide(_interval(-0.009, 0.2), 100, _PLAN) == "promote"


def test_an_open_question_goes_to_a_person_in_the_end() -> None:
    assert decide(_interval(-0.3, 0.3), 999, _PLAN) == "continue"
    assert decide(_interval(-0.3, 0.3), 1000, _PLAN) == "ask a person"


def test_nothing_is_decided_on_a_handful_of_rows() -> None:
    assert decide(_interval(-0.3, -0.2), 99, _PLAN) == "continue"
    assert decide(_interval(0.2, 0.3), 99, _PLAN) == "continue"


def test_each_column_has_a_decision_of_its_own() -> None:
    interval = Interval(np.array([0.0, -0.3]), np.array([0.1, -0.2]))

    assert decide(interval, 100, _PLAN) == "promote"
    assert decide(interval, 100, _PLAN, column=1) == "roll back"


def _interval(low: float, high: float) -> Interval:
    return Interval(np.array([low]), np.array([high]))


def test_equal_canaries_are_rolled_back_less_often_than_alpha_at_all_looks_together() -> None:
    # One column for each of 400 rollouts; the canary has a tenth of the traffic.
    random = np.random.default_rng(0)
    canary, stable = _clicks(random, 0.1, 100, 400), _clicks(random, 0.1, 900, 400)
    rolled_back = np.zeros(400, np.bool_)
    for _ in range(100):
        canary = canary.merged(_clicks(random, 0.1, 50, 400))
        stable = stable.merged(_clicks(random, 0.1, 450, 400))
        rolled_back |= asymptotic_interval(Difference.of(canary, stable), 0.05, 2000).high < 0

    # Binomial(400, 0.05): mean 20, deviation 4.4.
    assert rolled_back.sum() <= 28


def _clicks(random: np.random.Generator, rate: float, count: int, columns: int) -> ColumnMoments:
    successes = random.binomial(count, rate, columns)
    mean = successes / count
    return ColumnMoments(count, mean, count * mean * (1 - mean))


def test_bernstein_sums_are_those_of_the_recursion() -> None:
    values = np.array([0.2, 0.9, 0.4])

    sums = BernsteinSums.start(0.05).after(values[:, None], _UNIT)

    # Theorem 2, one value at a time.
    mean, variance, bets, won, price = 0.5, 0.25, 0.0, 0.0, 0.0
    total, squares = 0.5, 0.25
    for t, x in enumerate(values, start=1):
        bet = min(0.5, math.sqrt(2 * math.log(20) / (variance * t * math.log(1 + t))))
        bets, won = bets + bet, won + bet * x
        price += 4 * (x - mean) ** 2 * (-math.log(1 - bet) - bet) / 4
        total += x
        mean = total / (t + 1)
        squares += (x - mean) ** 2
        variance = squares / (t + 1)
    assert sums.bets == pytest.approx([bets])
    assert sums.won == pytest.approx([won])
    assert sums.price == pytest.approx([price])
    interval = sums.interval(_UNIT)
    assert interval.low == pytest.approx([max(0.0, (won - price - math.log(20)) / bets)])


def test_a_bernstein_interval_is_on_the_scale_of_the_rewards() -> None:
    rewards = np.random.default_rng(0).random((5_000, 1))

    unit = BernsteinSums.start(0.05).after(rewards, _UNIT).interval(_UNIT)
    wide = Span(-2.0, 6.0)
    scaled = BernsteinSums.start(0.05).after(8 * rewards - 2, wide).interval(wide)

    assert unit.low < 0.5 < unit.high
    assert unit.high - unit.low < 0.06
    assert scaled.low == pytest.approx(8 * unit.low - 2)
    assert scaled.high == pytest.approx(8 * unit.high - 2)


def test_nothing_is_known_before_the_first_reward() -> None:
    interval = BernsteinSums.start(0.05, 2).interval(Span(-1.0, 3.0))

    assert interval.low.tolist() == [-1.0, -1.0]
    assert interval.high.tolist() == [3.0, 3.0]


def test_the_difference_of_two_bernstein_intervals_holds_their_worst_cases() -> None:
    random = np.random.default_rng(1)
    start = BernsteinSums.start(0.025)
    canary = start.after(random.binomial(1, 0.2, (4_000, 1)).astype(np.float64), _UNIT)
    stable = start.after(random.binomial(1, 0.4, (4_000, 1)).astype(np.float64), _UNIT)

    interval = bernstein_difference(canary, stable, _UNIT)

    ours, theirs = canary.interval(_UNIT), stable.interval(_UNIT)
    assert interval.low == ours.low - theirs.high
    assert interval.high == ours.high - theirs.low
    assert decide(interval, 4_000, _PLAN) == "roll back"


def test_a_bernstein_interval_misses_less_often_than_alpha_at_all_times_together() -> None:
    values = np.random.default_rng(2).binomial(1, 0.1, (3_000, 400)).astype(np.float64)
    missed = np.zeros(400, np.bool_)
    sums = BernsteinSums.start(0.05, 400)
    for start in range(0, 3_000, 20):
        sums = sums.after(values[start : start + 20], _UNIT)
        missed |= sums.interval(_UNIT).low > 0.1

    # Binomial(400, 0.05): mean 20, deviation 4.4.
    assert missed.sum() <= 28


@given(st.tuples(rows(2), rows(2), rows(2)))
@settings(max_examples=40, deadline=None)
def test_the_order_of_merging_does_not_matter(parts: tuple[Doubles, Doubles, Doubles]) -> None:
    span = Span(-100.0, 100.0)
    a, b, c = (BernsteinSums.start(0.05, 2).after(part, span) for part in parts)
    steps = [Difference.of(ColumnMoments.of(part), ColumnMoments.of(part)) for part in parts]

    assert_same(a.merged(b).merged(c), c.merged(b.merged(a)))
    assert_same(
        steps[0].merged(steps[1]).merged(steps[2]), steps[2].merged(steps[0].merged(steps[1]))
    )


@given(rows(2, least=2), st.data())
@settings(max_examples=40, deadline=None)
def test_rewards_may_come_in_any_pieces(values: Doubles, data: st.DataObject) -> None:
    span = Span(-100.0, 100.0)
    cut = data.draw(st.integers(1, len(values) - 1))
    start = BernsteinSums.start(0.05, 2)

    assert_same(
        start.after(values, span), start.after(values[:cut], span).after(values[cut:], span)
    )
