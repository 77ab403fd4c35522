"""What weights say about a log, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agent_core.evaluation.diagnostics import WeightSums


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
