"""What learners of action values share: targets by hand, and the pace of the target network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from agent_core.policy_learners.temporal_difference import (
    ActionValuePolicy,
    double_target,
    greedy_target,
    huber_losses,
)
from agent_core.policy_learners.value_based.bootstrapped_dqn import BootstrappedDqnConfig
from agent_core.policy_learners.value_based.cql import CqlConfig
from agent_core.policy_learners.value_based.dqn import DqnConfig
from agent_core.policy_learners.value_based.sarsa import DeepSarsaConfig
from agent_core.training.collate import collate
from agent_core.types import ActionSet
from tests.support.learners import SPEC, agent_learner, fingerprint, made_up
from tests.support.value_networks import adding_network, one_step

_CPU = torch.device("cpu")


def test_the_target_takes_the_best_of_the_next_available_actions_only() -> None:
    # 1 + 0.5 * max(2 + 1, 2 + 3). The 9 that is available now is not available next.
    assert greedy_target(adding_network(), one_step(), discount=0.5).tolist() == [3.5]


def test_a_terminated_step_is_worth_its_reward() -> None:
    batch = one_step(terminated=True)

    assert greedy_target(adding_network(), batch, discount=0.5).tolist() == [1.0]
    assert double_target(adding_network(), adding_network(), batch, 0.5).tolist() == [1.0]


def test_a_truncated_step_bootstraps() -> None:
    batch = one_step(truncated=True)

    assert greedy_target(adding_network(), batch, discount=0.5).tolist() == [3.5]


@pytest.mark.parametrize("nothing", [None, ActionSet((), np.zeros((0, 1), np.float32))])
def test_a_state_without_actions_is_worth_zero(nothing: ActionSet | None) -> None:
    batch = one_step(next_actions=nothing)

    assert greedy_target(adding_network(), batch, discount=0.5).tolist() == [1.0]
    assert double_target(adding_network(), adding_network(), batch, 0.5).tolist() == [1.0]


def test_the_double_target_values_what_the_trained_network_likes_by_the_target_network() -> None:
    # Trained values are -(2 + 1) and -(2 + 3): it likes the first, which the target values at 3.
    target = double_target(adding_network(-1.0), adding_network(), one_step(), discount=0.5)

    assert target.tolist() == [1 + 0.5 * 3]


def test_losses_are_quadratic_up_to_one_and_linear_beyond() -> None:
    # 0.5^2 / 2, and 3 - 1 / 2.
    losses, errors, _ = huber_losses(torch.tensor([5.0, 5.0]), torch.tensor([5.5, 8.0]))

    assert losses.tolist() == [0.125, 2.5]
    assert errors.tolist() == [0.5, 3.0]


@pytest.mark.parametrize(("bend", "expected"), [(1.0, 2.5), (2.0, 4.0), (10.0, 4.5), (None, 4.5)])
def test_an_error_of_three_costs_what_the_bend_says(bend: float | None, expected: float) -> None:
    # 1 * (3 - 1 / 2), 2 * (3 - 2 / 2), and 3^2 / 2.
    losses = huber_losses(torch.tensor([5.0]), torch.tensor([8.0]), bend).losses

    assert losses.tolist() == [expected]


@pytest.mark.parametrize("kind", [DqnConfig, DeepSarsaConfig, CqlConfig, BootstrappedDqnConfig])
def test_every_learner_with_a_huber_loss_minds_its_bend(kind: type[Any]) -> None:
    learners = [agent_learner(kind(huber_bend=bend)) for bend in (0.01, None)]
    for learner in learners:
        learner.learn(made_up(40))

    narrow, squared = (fingerprint(learner.training_state()) for learner in learners)

    assert narrow != squared


def _fresh(**settings: object) -> tuple[ActionValuePolicy, DqnConfig]:
    config = DqnConfig.model_validate({"hidden": (4,), **settings})
    policy = config.build_policy(SPEC)
    assert isinstance(policy, ActionValuePolicy)
    return policy, config


def test_the_target_network_moves_by_its_share_at_its_period() -> None:
    policy, config = _fresh(target_mix=0.25, target_period_updates=2)
    learner = config.build_learner(policy, SPEC)
    batch = collate(made_up(8), SPEC, _CPU)
    start = policy.network.out.weight.clone()

    learner.update(batch)
    after_one = policy.network.out.weight.clone()
    learner.update(batch)

    trained = learner.training_state()["network.out.weight"]
    assert torch.equal(after_one, start)
    torch.testing.assert_close(policy.network.out.weight, start + 0.25 * (trained - start))


def test_a_mix_of_one_serves_what_was_trained() -> None:
    policy, config = _fresh(target_mix=1.0)
    learner = config.build_learner(policy, SPEC)

    learner.update(collate(made_up(8), SPEC, _CPU))

    trained = learner.training_state()["network.out.weight"]
    assert torch.equal(policy.network.out.weight, trained)


def test_a_surprising_reward_moves_the_weights_no_further_than_a_mild_one() -> None:
    moved = []
    for reward in (10.0, 1e6):
        torch.manual_seed(0)
        policy, config = _fresh(max_gradient_norm=1.0, target_mix=1.0)
        start = policy.network.out.weight.clone()
        batch = collate(made_up(8), SPEC, _CPU)
        batch = replace(batch, reward=torch.full_like(batch.reward, reward))
        config.build_learner(policy, SPEC).update(batch)
        moved.append((policy.network.out.weight - start).norm())

    torch.testing.assert_close(moved[0], moved[1], rtol=1e-3, atol=1e-6)


def test_a_row_of_weight_zero_teaches_nothing() -> None:
    batch = collate(made_up(2), SPEC, _CPU)
    states = []
    for reward in (5.0, -5.0):
        torch.manual_seed(0)
        policy, config = _fresh()
        changed = replace(
            batch,
            reward=torch.tensor([float(batch.reward[0]), reward]),
            weight=torch.tensor([1.0, 0.0]),
        )
        learner = config.build_learner(policy, SPEC)
        learner.update(changed)
        states.append(learner.training_state()["network.out.weight"])

    assert torch.equal(states[0], states[1])
