"""Detectors: by hand, and how often they alarm. Rates with more runs: `benchmarks/monitoring`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent_core.monitoring.detectors import Cusum, EDetector, EProcess, Repeats
from agent_core.monitoring.evidence import (
    Span,
    bernoulli_log_ratio,
    drop_bet,
    drop_log_ratio,
    rise_log_ratio,
)
from agent_core.types import Doubles

_UNIT = Span(0.0, 1.0)


def test_the_third_bad_window_of_five_trips() -> None:
    state = Repeats.start(needed=3, of=5)
    trips = []
    for is_bad in (True, False, True, False, True, False, False):
        state = state.after(is_bad)
        trips.append(state.is_tripped)

    # The first has left the last five at the sixth.
    assert trips == [False, False, False, False, True, False, False]


def test_three_windows_in_a_row_are_three_of_three() -> None:
    state = Repeats.start(3, 3)
    for is_bad in (True, True, False, True, True):
        state = state.after(is_bad)

    assert not state.is_tripped
    assert state.after(is_bad=True).is_tripped


def test_cusum_starts_again_at_0() -> None:
    values = []
    state = Cusum(threshold=2.5)
    for log in (1.0, -3.0, 1.0, 1.0, -0.5, 1.0):
        state = state.after(np.array([log]))
        values.append(state.value)

    assert values == [1.0, 0.0, 1.0, 2.0, 1.5, 2.5]
    assert state.is_tripped


def test_an_e_detector_adds_one_and_multiplies() -> None:
    state = EDetector(run_length=12.0)
    values = []
    for ratio in (2.0, 0.5, 3.0, 2.0):
        state = state.after(np.log([ratio]))
        values.append(math.exp(state.log_value))

    # 2 (0 + 1) = 2; 0.5 (2 + 1) = 1.5; 3 (1.5 + 1) = 7.5; 2 (7.5 + 1) = 17
    assert values == pytest.approx([2.0, 1.5, 7.5, 17.0])
    assert state.is_tripped


def test_wealth_is_the_sum_over_where_harm_may_begin_and_its_peak_trips() -> None:
    state = EProcess(alpha=0.18).after(np.log([4.0, 3.0, 0.01]))

    # What is left after t ratios is 1 / (1 + ln(1 + t)): 1, .590616, .476505, .419060; so the shares that begin
    # are .409384, .114111, .057445. Begun: 4 * .409384 = 1.637535; 3 (1.637535 + .114111) = 5.254939;
    # .01 (5.254939 + .057445) = .053124. With what is left: 2.22815, 5.73144 and .47218.
    assert math.exp(state.log_wealth) == pytest.approx(0.47218, abs=1e-5)
    assert math.exp(state.highest) == pytest.approx(5.73144, abs=1e-5)
    assert state.is_tripped  # at 1 / .18 = 5.56
    assert not EProcess(alpha=0.17).after(np.log([4.0, 3.0, 0.01])).is_tripped  # at 5.88


def test_the_shares_of_all_beginnings_sum_to_1() -> None:
    # Ratios of 1 leave the sum where it is: at 1, however long.
    state = EProcess(alpha=0.1).after(np.zeros(100_000))

    assert math.exp(state.log_wealth) == pytest.approx(1.0)
    assert math.exp(EProcess(alpha=0.1).log_wealth) == 1.0


def test_harm_after_a_long_good_time_is_seen_within_some_thousand_decisions() -> None:
    random = np.random.default_rng(3)
    good = random.binomial(1, 0.05, 100_000).astype(np.float64)
    harm = random.binomial(1, 0.15, 4_000).astype(np.float64)

    state = EProcess(0.05).after(rise_log_ratio(good, _UNIT, 0.1, 0.54))

    # Harm adds .15 ln 1.486 + .85 ln .946 = .0122 a decision. What is needed is ln 20 + ln 1e5 + 2 ln(1 + ln 1e5)
    # = 19.6, so 1,600 decisions on average. A single product had lost 3,300 and would need 270,000.
    assert not state.is_tripped
    assert state.after(rise_log_ratio(harm, _UNIT, 0.1, 0.54)).is_tripped


@pytest.mark.parametrize("state", [Cusum(9.0), EDetector(1e9), EProcess(1e-9)])
def test_what_tripped_stays_so_and_stays_finite(state: Any) -> None:
    tripped = state.after(np.full(10_000, 1.0))

    after = tripped.after(np.full(20_000, -1.0))

    assert tripped.is_tripped
    assert after.is_tripped
    assert math.isfinite(math.exp(after.highest))


@given(
    hnp.arrays(np.float64, st.integers(2, 30), elements=st.floats(-3, 3)),
    st.data(),
    st.sampled_from([Cusum(2.0), EDetector(20.0), EProcess(0.05)]),
)
@settings(max_examples=40, deadline=None)
def test_values_may_come_in_any_pieces(logs: Doubles, data: st.DataObject, start: Any) -> None:
    cut = data.draw(st.integers(1, len(logs) - 1))

    whole = start.after(logs)
    pieces = start.after(logs[:cut]).after(logs[cut:])
    one_by_one = start
    for log in logs:
        one_by_one = one_by_one.after(np.array([log]))

    for other in (pieces, one_by_one):
        for name, array in whole.to_arrays().items():
            assert other.to_arrays()[name] == pytest.approx(array, abs=1e-9)


def test_an_e_detector_runs_as_long_as_promised_without_a_change() -> None:
    random = np.random.default_rng(0)
    runs, windows, rows = 200, 100, 200

    def trips(detector: EDetector) -> bool:
        clicks = random.binomial(1, 0.1, windows * rows).astype(np.float64)
        logs = bernoulli_log_ratio(clicks, 0.1, 0.08)
        return detector.after(logs.reshape(windows, rows).sum(1)).is_tripped

    alarms = sum(trips(EDetector(run_length=1000.0)) for _ in range(runs))

    # At most 100 of 1,000 windows' worth: 20 of 200, with a deviation of 4.
    assert alarms <= 28


def test_bets_on_bounded_rewards_find_a_drop_of_a_fifth() -> None:
    random = np.random.default_rng(1)
    good, bad = random.beta(2, 2, 20_000), random.beta(2, 3, 2_000)  # means 0.5 and 0.4
    bet = drop_bet(_UNIT, 0.5, float(good.var()), 0.4)

    before = EDetector(1e7).after(drop_log_ratio(good, _UNIT, 0.5, bet))
    after = before.after(drop_log_ratio(bad, _UNIT, 0.5, bet))

    assert not before.is_tripped
    assert after.is_tripped


def test_a_kept_budget_trips_less_often_than_alpha_ever() -> None:
    random = np.random.default_rng(2)

    def trips(rate: float) -> bool:
        costs = random.binomial(1, rate, 5_000).astype(np.float64)
        return EProcess(0.05).after(rise_log_ratio(costs, _UNIT, 0.1, 0.5)).is_tripped

    # Binomial(400, 0.05): mean 20, deviation 4.4.
    assert sum(trips(0.1) for _ in range(400)) <= 30
    assert sum(trips(0.15) for _ in range(50)) == 50
