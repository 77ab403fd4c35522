"""The statistics of the demos, on numbers small enough to work out by hand."""

from __future__ import annotations

import math

import pytest

from service.demo.stats import blocks, finite, mean_interval, percentile_ms


def test_the_interval_of_a_mean_is_the_normal_one() -> None:
    # Mean 2, sample variance (1 + 0 + 1) / 2 = 1, so 3.29 standard errors are 3.2905 / sqrt(3).
    interval = mean_interval([1.0, 2.0, 3.0])

    assert interval.mean == 2.0
    assert interval.high - interval.mean == pytest.approx(3.2905 / math.sqrt(3), rel=1e-4)
    assert interval.mean - interval.low == pytest.approx(interval.high - interval.mean)


def test_one_value_says_nothing_about_its_spread() -> None:
    interval = mean_interval([5.0])

    assert interval.mean == 5.0
    assert 1e9 in interval


def test_an_interval_contains_numbers_between_its_ends_only() -> None:
    interval = mean_interval([1.0, 1.0, 1.0])

    assert 1 in interval
    assert 1.1 not in interval


def test_percentiles_are_in_milliseconds() -> None:
    assert percentile_ms([0.001, 0.002, 0.003], 50) == pytest.approx(2.0)


def test_the_last_block_may_be_shorter() -> None:
    assert blocks([1.0, 3.0, 5.0], 2) == [2.0, 5.0]


def test_json_gets_null_for_infinity() -> None:
    assert finite(math.inf) is None
    assert finite(1.5) == 1.5
