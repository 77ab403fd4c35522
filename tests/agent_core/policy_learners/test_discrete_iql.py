"""Discrete IQL: its three losses by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from agent_core.functional.critics import squared_loss
from agent_core.functional.implicit import expectile_loss, imitation_loss, preferences
from agent_core.policy_learners.actor import chosen_log_probability
from agent_core.policy_learners.offline.discrete_iql import DiscreteIqlConfig
from agent_core.training.collate import collate
from agent_core.types import TransitionBatch
from tests.support.learners import SPEC, made_up
from tests.support.plain_networks import PLAIN_SPEC, adding_network, numbered
from tests.support.transitions import a_transition

_CPU = torch.device("cpu")


def _decision(action: int) -> TransitionBatch:
    """Between actions of probability 1/4 and 3/4."""
    state, actions = np.zeros(1, np.float32), numbered(0.0, math.log(3))
    return collate([a_transition(state=state, actions=actions, action=action)], PLAIN_SPEC, _CPU)


def test_values_above_the_estimate_pull_harder_than_values_below() -> None:
    # 0.75 * 2^2 above, 0.25 * 2^2 below; the mean of 3 and 1, the second weighted with 3: (3 + 3) / 2.
    differences = torch.tensor([2.0, -2.0])

    assert expectile_loss(differences, 0.75, torch.ones(2)).item() == 2.0
    assert expectile_loss(differences, 0.75, torch.tensor([1.0, 3.0])).item() == 3.0


def test_the_expectile_of_one_half_is_the_mean() -> None:
    # Around the mean of 0, 0 and 3 the pulls cancel: 0.5 * (-1 - 1 + 2).
    value = torch.tensor(1.0, requires_grad=True)

    loss = expectile_loss(torch.tensor([0.0, 0.0, 3.0]) - value, 0.5, torch.ones(3))

    (slope,) = torch.autograd.grad(loss, value)
    assert slope.item() == 0.0


def test_both_critics_learn() -> None:
    # The mean of 4 and 0, and, the second row counting three times, of 0 and 3 times 4.
    errors = torch.tensor([[2.0, 0.0], [0.0, 2.0]])

    assert squared_loss(errors, torch.tensor([1.0, 3.0])).item() == 2.0 + 6.0


@pytest.mark.parametrize(
    ("advantage", "preference"),
    [(0.0, 1.0), (math.log(2), 4.0), (-math.log(2), 0.25), (50.0, 100.0)],
    ids=["as usual", "better", "worse", "bounded"],
)
def test_better_actions_are_imitated_more(advantage: float, preference: float) -> None:
    # exp(2 * advantage), at most 100, times the surprise ln 4.
    log_p = chosen_log_probability(adding_network(), _decision(0))
    loss = imitation_loss(log_p, preferences(torch.tensor([advantage]), 2.0), torch.ones(1))

    assert loss.item() == pytest.approx(preference * math.log(4))


def test_what_could_have_been_done_next_does_not_enter_the_targets() -> None:
    # The whole point of it: next actions may be anything.
    first = collate(made_up(8), SPEC, _CPU)
    nothing_next = first.next_actions.features * float("nan")
    second = collate(made_up(8), SPEC, _CPU)
    second.next_actions.features.copy_(nothing_next)
    errors = []
    for batch in (first, second):
        torch.manual_seed(0)
        config = DiscreteIqlConfig(hidden=(4,))
        update = config.build_learner(config.build_policy(SPEC), SPEC).update(batch)
        assert update.errors is not None
        errors.append(update.errors)

    assert torch.equal(errors[0], errors[1])


def test_the_errors_are_those_against_the_value_of_the_next_state() -> None:
    # Weights all zero but the last biases: V = 2, both Q = 3. Targets: 1 + 0.5 * 2 = 2 where it goes on,
    # 1 where it ended.
    config = DiscreteIqlConfig(hidden=(4,), discount=0.5)
    learner = config.build_learner(config.build_policy(SPEC), SPEC)
    state = {name: torch.zeros_like(value) for name, value in learner.training_state().items()}
    state["value.out.bias"] += 2.0
    for name in ("critics.first", "critics.second", "targets.first", "targets.second"):
        state[f"{name}.out.bias"] += 3.0
    learner.load_training_state(state)
    batch = collate(made_up(40), SPEC, _CPU)

    errors = learner.update(batch.with_reward(torch.ones(40))).errors

    assert errors is not None
    assert set(batch.bootstraps.tolist()) == {0.0, 1.0}
    torch.testing.assert_close(errors, torch.where(batch.bootstraps > 0, 1.0, 2.0))
