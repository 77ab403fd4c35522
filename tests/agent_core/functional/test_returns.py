"""Sums over the rest of an episode, by hand."""

from __future__ import annotations

import pytest
import torch

from agent_core.functional.returns import discounted_sums, generalized_advantages, returns_to_go

_ONE_OF_THREE = torch.tensor([0, 3])


def test_every_step_has_the_discounted_sum_of_its_own_rest() -> None:
    # 1 + 1/2 + 1/4, then 1 + 1/2, then 1.
    sums = discounted_sums(torch.ones(3), 0.5, _ONE_OF_THREE)

    assert sums.tolist() == [1.75, 1.5, 1.0]


def test_what_was_given_stays_as_it_was() -> None:
    rewards = torch.ones(3)

    returns_to_go(rewards, torch.ones(3), torch.ones(3), _ONE_OF_THREE, 0.5)

    assert rewards.tolist() == [1.0, 1.0, 1.0]


def test_nothing_flows_from_one_episode_into_the_one_before() -> None:
    # Two episodes: (1, 2) and (4): 1 + 2/2, 2, 4.
    sums = discounted_sums(torch.tensor([1.0, 2.0, 4.0]), 0.5, torch.tensor([0, 2, 3]))

    assert sums.tolist() == [2.0, 2.0, 4.0]


def test_a_cut_episode_goes_on_with_the_value_of_its_own_next_state() -> None:
    # The first is cut: its last step is worth 1 + 0.5 * 8 = 5, the one before 1 + 0.5 * 5.
    # The second ended: 1. The values 100 belong to steps that are not last, and to an end.
    returns = returns_to_go(
        reward=torch.ones(3),
        bootstraps=torch.tensor([1.0, 1.0, 0.0]),
        next_value=torch.tensor([100.0, 8.0, 100.0]),
        offsets=torch.tensor([0, 2, 3]),
        discount=0.5,
    )

    assert returns.tolist() == [3.5, 5.0, 1.0]


@pytest.mark.parametrize(
    ("trace", "expected"),
    [(0.0, [1.0, 2.0, 4.0]), (0.5, [1.75, 3.0, 4.0]), (1.0, [3.0, 4.0, 4.0])],
)
def test_advantages_are_errors_summed_at_the_discount_times_the_trace(
    trace: float, expected: list[float]
) -> None:
    # Discount 1/2. Trace 1/2: 1 + 2/4 + 4/16, 2 + 4/4, 4. Trace 1: 1 + 2/2 + 4/4, 2 + 4/2, 4.
    errors = torch.tensor([1.0, 2.0, 4.0])

    advantages = generalized_advantages(errors, _ONE_OF_THREE, discount=0.5, trace=trace)

    assert advantages.tolist() == expected


def test_the_result_keeps_the_type() -> None:
    assert discounted_sums(torch.ones(3, dtype=torch.float64), 1.0, _ONE_OF_THREE).dtype == (
        torch.float64
    )
