"""Conservative Q-learning: the penalty by hand, over available actions only."""

from __future__ import annotations

import math

import pytest
import torch

from agent_core.policy_learners.value_based.cql import conservatism, cql_losses
from agent_core.types import RaggedActions
from tests.support.value_networks import adding_network, numbers, one_step


def _sets(*sizes: int) -> RaggedActions:
    offsets = torch.tensor([0, *sizes]).cumsum(0)
    return RaggedActions(torch.zeros(int(offsets[-1]), 1), offsets)


def test_the_penalty_is_the_soft_maximum_minus_the_value_of_the_taken_action() -> None:
    # ln(e^0 + e^0) - 0 = ln 2. ln(1 + 2 + 5) - ln 2 = ln 4. A single action costs nothing.
    values = torch.tensor([0.0, 0.0, 1.0, 2.0, 5.0, 1.0])
    values[2:5] = values[2:5].log()
    values[5] = 1e30

    penalty = conservatism(values, _sets(2, 3, 1), torch.tensor([1, 3, 5]))

    assert penalty.tolist() == pytest.approx([math.log(2), math.log(4), 0.0])


def test_the_penalty_of_huge_values_does_not_overflow() -> None:
    penalty = conservatism(torch.tensor([1e4, 0.0]), _sets(2), torch.tensor([1]))

    assert penalty.tolist() == [1e4]


def test_the_penalty_pushes_the_taken_action_up_and_the_others_down_by_their_softmax() -> None:
    # Softmax of equal values is 1/2 each; the taken one has -1 besides.
    values = torch.zeros(2, requires_grad=True)

    conservatism(values, _sets(2), torch.tensor([0])).sum().backward()

    assert values.grad is not None
    assert values.grad.tolist() == [-0.5, 0.5]


def test_the_loss_is_that_of_double_q_learning_and_alpha_times_the_penalty() -> None:
    # Q(1, 4) = 5 against 1 + 0.5 * 5: 1.5 - 1 / 2. The penalty is over {1, 5, 10}, of which 5 was taken.
    network = adding_network()
    soft_maximum = math.log(math.e + math.e**5 + math.e**10)

    losses = cql_losses(network, network, one_step(), discount=0.5, alpha=2.0)

    assert losses.losses.tolist() == pytest.approx([1.0 + 2 * (soft_maximum - 5)], rel=1e-5)
    assert losses.errors.tolist() == [1.5]


def test_the_penalty_is_of_the_taken_action_however_actions_are_represented() -> None:
    # Two actions with the same one number and one apart: it is the position that says what was taken.
    network = adding_network()
    batch = one_step(actions=numbers(4.0, 4.0, 0.0), action=2, terminated=True)

    losses = cql_losses(network, network, batch, discount=0.5, alpha=1.0)

    # Q(1, 0) = 1 is its target; ln(2 e^5 + e) - 1.
    assert losses.losses.tolist() == pytest.approx([math.log(2 * math.e**5 + math.e) - 1])
