"""Deep SARSA: targets by hand, and what may not be learned from."""

from __future__ import annotations

import pytest

from agent_core.policy_learners.value_based.sarsa import counts, sarsa_losses, sarsa_target
from tests.support.value_networks import adding_network, numbers, one_step


def test_the_target_takes_the_action_that_was_taken_next_not_the_best() -> None:
    # 1 + 0.5 * (2 + 1); the better action 3 was not taken.
    assert sarsa_target(adding_network(), one_step(next_action=0), 0.5).tolist() == [2.5]


def test_a_truncated_step_bootstraps_from_what_was_done_next() -> None:
    batch = one_step(next_action=1, truncated=True)

    assert sarsa_target(adding_network(), batch, 0.5).tolist() == [3.5]


def test_a_terminated_step_counts_and_is_worth_its_reward() -> None:
    batch = one_step(terminated=True, next_state=None, next_actions=None)

    assert counts(batch).tolist() == [1.0]
    assert sarsa_target(adding_network(), batch, 0.5).tolist() == [1.0]


@pytest.mark.parametrize("following", [numbers(1.0, 3.0), None])
def test_a_step_whose_next_action_is_unknown_teaches_nothing_and_has_no_error(
    following: object,
) -> None:
    batch = one_step(next_action=None, next_actions=following)
    network = adding_network()

    losses = sarsa_losses(network, network, batch, discount=0.5)

    assert counts(batch).tolist() == [0.0]
    assert (losses.losses.tolist(), losses.errors.tolist()) == ([0.0], [0.0])


def test_the_loss_is_on_the_chosen_action() -> None:
    # Q(1, 4) = 5 against 2.5: an error of 2.5, in the linear part: 2.5 - 1 / 2.
    network = adding_network()

    losses = sarsa_losses(network, network, one_step(next_action=0), discount=0.5)

    assert losses.losses.tolist() == [2.0]
    assert losses.errors.tolist() == [2.5]
