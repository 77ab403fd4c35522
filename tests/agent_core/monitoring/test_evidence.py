from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent_core.monitoring.evidence import (
    Span,
    bernoulli_log_ratio,
    drop_bet,
    drop_log_ratio,
    rise_bet,
    rise_log_ratio,
)
from agent_core.types import Doubles

_UNIT = Span(0.0, 1.0)


def test_bernoulli_rewards_speak_by_their_likelihoods() -> None:
    ratios = np.exp(bernoulli_log_ratio(np.array([1.0, 0.0]), baseline=0.05, changed=0.04))

    assert ratios == pytest.approx([0.04 / 0.05, 0.96 / 0.95])
    # 1 on average at the baseline.
    assert ratios @ [0.05, 0.95] == pytest.approx(1.0)


def test_any_rewards_speak_by_a_bet_on_the_scale_of_their_span() -> None:
    # From [-1, 3]: the baseline 1 is 0.5, rewards -1, 1 and 3 are 0, 0.5 and 1.
    ratios = drop_log_ratio(np.array([-1.0, 1.0, 3.0]), Span(-1.0, 3.0), baseline=1.0, bet=0.8)

    assert np.exp(ratios) == pytest.approx([1.4, 1.0, 0.6])


def test_costs_speak_the_other_way() -> None:
    ratios = rise_log_ratio(np.array([0.0, 1.0]), _UNIT, budget=0.1, bet=0.5)

    assert np.exp(ratios) == pytest.approx([1 - 0.05, 1 + 0.45])


def test_what_is_outside_the_span_counts_as_its_end() -> None:
    ratios = drop_log_ratio(np.array([-9.0, 99.0]), _UNIT, baseline=0.5, bet=1.0)

    assert np.exp(ratios) == pytest.approx([1.5, 0.5])


def test_the_bet_is_the_step_over_the_second_moment() -> None:
    # A step of 0.01, whose square is 0.0001.
    assert drop_bet(_UNIT, 0.05, 0.0475, 0.04) == pytest.approx(0.01 / 0.0476)
    # The same on a span four times as wide.
    wide = drop_bet(Span(0.0, 4.0), 0.2, 0.0475 * 16, 0.16)
    assert wide == pytest.approx(0.01 / 0.0476)
    assert rise_bet(_UNIT, 0.05, 0.0475, 0.06) == pytest.approx(0.01 / 0.0476)


def test_a_bet_never_risks_more_than_half() -> None:
    # Without variance the best bet is 1 / 0.1 = 10, but a reward of 1 would cost 0.4 of it.
    assert drop_bet(_UNIT, 0.6, 0.0, 0.5) == pytest.approx(0.5 / 0.4)
    assert rise_bet(_UNIT, 0.6, 0.0, 0.7) == pytest.approx(0.5 / 0.6)


@given(
    hnp.arrays(np.float64, st.integers(1, 10), elements=st.floats(-5, 5)),
    st.floats(0.05, 0.95),
    st.floats(0.01, 1.0),
)
@settings(max_examples=40, deadline=None)
def test_without_a_change_ratios_are_at_most_1_on_average(
    values: Doubles, share: float, step: float
) -> None:
    span = Span(-5.0, 5.0)
    mean, variance = float(values.mean()), float(values.var())
    baseline = min(mean, 10 * share - 5)
    budget = max(mean, 10 * share - 5)
    drops = drop_log_ratio(
        values, span, baseline, drop_bet(span, baseline, variance, baseline - step)
    )
    rises = rise_log_ratio(values, span, budget, rise_bet(span, budget, variance, budget + step))

    for logs in (drops, rises):
        assert np.isfinite(logs).all()
        assert np.exp(logs).mean() <= 1 + 1e-9
    assert math.isfinite(float(drops.sum()))
