"""Which estimate is believed, by hand. sqrt(6) - 1 is 1.449."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from agent_core.evaluation.continuous import kernel_weights
from agent_core.evaluation.moments import Moments, plain
from agent_core.evaluation.slope import chosen
from agent_core.evaluation.terms import importance
from agent_core.types import Doubles

_WIDTH = np.array([2.0, 1.0, 0.5])


@pytest.mark.parametrize(
    ("third", "choice"),
    # Within 0.5 + 1.449 * 1 of the second, and of the first with room to spare.
    [(1.9, 2), (2.0, 1)],
)
def test_the_narrowest_that_nothing_wider_contradicts_is_chosen(third: float, choice: int) -> None:
    assert chosen(np.array([0.0, 0.0, third]), _WIDTH) == choice


def test_what_follows_a_contradiction_is_not_believed() -> None:
    assert chosen(np.array([0.0, 9.0, 0.0]), _WIDTH) == 0


def test_the_order_in_which_they_are_given_does_not_matter() -> None:
    assert chosen(np.array([2.0, 0.0, 0.0]), _WIDTH[::-1]) == 1


def test_one_alone_is_chosen() -> None:
    assert chosen(np.array([3.0]), np.array([1.0])) == 0


@pytest.mark.parametrize(
    ("reward", "bandwidth"),
    # A slope averages out on both sides of the target, a peak does not.
    [(lambda action: action, 0.4), (lambda action: np.exp(-((action - 0.5) ** 2) / 0.01), 0.05)],
)
def test_a_kernel_is_as_wide_as_the_rewards_allow(
    reward: Callable[[Doubles], Doubles], bandwidth: float
) -> None:
    action = np.random.default_rng(0).random((20_000, 1))
    target, density, bandwidths = np.full_like(action, 0.5), np.ones(20_000), (0.05, 0.2, 0.4)

    estimates = [
        plain(
            Moments.of(
                importance(
                    reward(action[:, 0]),
                    kernel_weights(action, target, density, np.array([width])),
                )
            )
        )
        for width in bandwidths
    ]

    value = np.array([one.value for one in estimates])
    width = 2 * np.array([one.standard_error for one in estimates])
    assert bandwidths[chosen(value, width)] == bandwidth
