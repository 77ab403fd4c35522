"""What weights say about a log, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agent_core.evaluation.diagnostics import WeightSums, weight_moments


def test_weights_are_described_by_four_numbers() -> None:
    sums = WeightSums.of(np.array([0.0, 0.5, 3.5]))

    # The square of 4 over 0.25 + 12.25; a third of 0 + 0.5 + 1.
    assert sums.effective_size == pytest.approx(1.28)
    assert sums.overlap == pytest.approx(0.5)
    assert sums.mean == pytest.approx(4 / 3)
    assert sums.largest == 3.5
    # Variance 12.5 / 3 - 16 / 9 = 21.5 / 9.
    assert sums.mean_error == pytest.approx(math.sqrt(21.5 / 9 / 3))


def test_the_same_policy_is_worth_all_of_its_log() -> None:
    sums = WeightSums.of(np.ones(5))

    assert (sums.effective_size, sums.overlap, sums.mean, sums.mean_error) == (5, 1, 1, 0)


def test_a_policy_that_does_nothing_of_it_is_worth_nothing() -> None:
    sums = WeightSums.of(np.zeros(5))

    assert (sums.effective_size, sums.overlap) == (0, 0)


def test_overlap_is_what_both_policies_share() -> None:
    # Behaviour (0.5, 0.5), target (0.9, 0.1): they share 0.5 + 0.1. A log of both actions, once each,
    # is what the behaviour policy gives: (1 + 0.2) / 2.
    sums = WeightSums.of(np.array([1.8, 0.2]))

    assert sums.overlap == pytest.approx(0.6)


def test_shards_add_up_to_the_whole() -> None:
    ratio = np.array([0.25, 4.0, 0.5, 1.0, 8.0])

    assert WeightSums.of(ratio[:2]).merged(WeightSums.of(ratio[2:])) == WeightSums.of(ratio)


def test_what_the_weight_of_one_decision_should_be_follows_from_both_policies() -> None:
    mean, variance = weight_moments(np.array([0.5, 0.3, 0.2]), np.array([0.8, 0.2, 0.0]))

    # The third action is never tried: 0.2 is missing. 0.25 / 0.8 + 0.09 / 0.2 = 0.7625, less 0.64.
    assert mean == pytest.approx(0.8)
    assert variance == pytest.approx(0.1225)


def test_a_rare_weight_that_was_not_seen_is_no_reason_to_doubt() -> None:
    # The target mostly does what the log tries once in a hundred decisions: 99 weights of 0.01 / 0.99 and,
    # expected once, one of 99. Here it never came.
    ours, theirs = np.array([0.01, 0.99]), np.array([0.99, 0.01])
    ratio, moments = np.full(100, 0.01 / 0.99), np.tile(weight_moments(ours, theirs), (100, 1))

    seen, known = WeightSums.of(ratio), WeightSums.of(ratio, moments)

    # 0.0001 / 0.99 + 0.9801 / 0.01 - 1 = 97.01 for each of 100.
    assert seen.mean_error == pytest.approx(0.0, abs=1e-9)
    assert known.mean_error == pytest.approx(math.sqrt(97.0101 / 100), rel=1e-4)
    assert known.expected_mean == pytest.approx(1.0)


def test_what_should_be_is_known_only_where_every_shard_knows_it() -> None:
    ratio, moments = np.array([0.5, 1.5]), np.array([[1.0, 0.2], [0.9, 0.4]])
    known = WeightSums.of(ratio, moments)

    both = known.merged(WeightSums.of(ratio, moments))

    assert both.means == pytest.approx(3.8)
    assert both.variances == pytest.approx(1.2)
    assert both.expected_mean == pytest.approx(0.95)
    assert known.merged(WeightSums.of(ratio)).means is None
