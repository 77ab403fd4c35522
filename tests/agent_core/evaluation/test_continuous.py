"""The kernel: by hand, and against another library."""

from __future__ import annotations

import numpy as np
import pytest

from agent_core.evaluation.continuous import kernel_weights, triangular
from agent_core.evaluation.moments import Moments, plain, self_normalized
from agent_core.evaluation.terms import doubly_robust, importance
from tests.agent_core.evaluation import oracle


def test_the_kernel_is_a_symmetric_density() -> None:
    distance = np.linspace(-9, 9, 180_001)

    density = triangular(distance)

    assert density.sum() * 1e-4 == pytest.approx(1.0, abs=1e-6)
    assert np.abs(density - density[::-1]).max() < 1e-12
    assert (density >= 0).all()


def test_near_actions_count_and_distant_ones_do_not() -> None:
    # Half a bandwidth off in one dimension: 1/2 * 1, over the box of bandwidths 2 * 4, over the
    # density 1/8. More than a bandwidth off in either: 0.
    action, target = np.array([[1.0, 3.0], [1.0, 3.0]]), np.array([[2.0, 3.0], [1.0, 8.0]])

    weights = kernel_weights(action, target, np.full(2, 1 / 8), np.array([2.0, 4.0]))

    assert weights == pytest.approx([0.5, 0.0])


def test_in_64_dimensions_neither_kernels_nor_densities_run_out_of_numbers() -> None:
    # Kernels of 1e6 each, 1e384 in all, over a density of 1e300, in one dimension half a bandwidth off;
    # and out of reach in the last.
    action, bandwidth = np.zeros((2, 64)), np.full(64, 1e-6)
    target = np.zeros((2, 64))
    target[0, :4], target[1, 63] = 0.5e-6, 2e-6

    with np.errstate(over="raise", invalid="raise"):
        weights = kernel_weights(action, target, np.full(2, 1e300), bandwidth)

    assert weights == pytest.approx([1e84 / 16, 0.0], rel=1e-9)


def test_weights_are_one_on_average() -> None:
    # Actions over all of [0, 1], evenly; the target does 0.5 with all of its kernel inside.
    action = (np.arange(10_000)[:, None] + 0.5) / 10_000

    weights = kernel_weights(action, np.full_like(action, 0.5), np.ones(10_000), np.array([0.2]))

    assert weights.mean() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("bandwidth", [0.3, 1.0])
def test_estimates_are_those_of_the_other_library(bandwidth: float) -> None:
    stored = oracle.arrays("synthetic")
    action, target = stored["continuous_action"][:, None], stored["continuous_target"][:, None]
    density, reward = stored["continuous_density"], stored["continuous_reward"]
    value = stored["continuous_value"]

    weight = kernel_weights(action, target, density, np.array([bandwidth]))
    without = Moments.of(importance(reward, weight))
    robust = Moments.of(doubly_robust(reward, weight, taken=value, expected=value))

    ours = {
        "kis": plain(without).value,
        "ksnis": self_normalized(without).value,
        "kdr": plain(robust).value,
    }
    theirs = oracle.expected()["synthetic"]["obp"]["continuous"]
    names = {name: theirs[f"{name}_triangular_{bandwidth}"] for name in ours}
    assert ours == pytest.approx(names, abs=1e-9, rel=0)
