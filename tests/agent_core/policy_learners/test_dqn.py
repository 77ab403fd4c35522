"""DQN: its targets by hand, and the pace of its target network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from agent_core.networks.action_value import ActionValueNetwork
from agent_core.policy_learners.value_based.dqn import DqnConfig, dqn_loss, dqn_target
from agent_core.training.collate import collate
from agent_core.types import ActionSet, ProblemSpec, TransitionBatch
from tests.support.learners import SPEC, made_up
from tests.support.transitions import a_transition

_CPU = torch.device("cpu")


def _adding_network() -> ActionValueNetwork:
    """Q(s, a) = relu(s + a) for one number each."""
    network = ActionValueNetwork(1, 1, (1,))
    for name, parameter in network.named_parameters():
        torch.nn.init.constant_(parameter, float("bias" not in name))
    return network.requires_grad_(False)


def _actions(*features: float) -> ActionSet:
    column = np.array(features, np.float32).reshape(-1, 1)
    return ActionSet(tuple(map(str, features)), column)


def _batch(**changes: object) -> TransitionBatch:
    fields: dict[str, object] = {
        "state": np.array([1.0], np.float32),
        "actions": _actions(0.0, 4.0, 9.0),
        "action": 1,
        "reward": 1.0,
        "next_state": np.array([2.0], np.float32),
        "next_actions": _actions(1.0, 3.0),
        "terminated": False,
    }
    return collate([a_transition(**(fields | changes))], ProblemSpec(1, 1, 10), _CPU)


def test_the_target_takes_the_best_of_the_next_available_actions_only() -> None:
    # 1 + 0.5 * max(2 + 1, 2 + 3). The 9 that is available now is not available next.
    assert dqn_target(_adding_network(), _batch(), discount=0.5).tolist() == [3.5]


def test_a_terminated_step_is_worth_its_reward() -> None:
    batch = _batch(terminated=True)

    assert dqn_target(_adding_network(), batch, discount=0.5).tolist() == [1.0]


def test_a_truncated_step_bootstraps() -> None:
    batch = _batch(truncated=True)

    assert dqn_target(_adding_network(), batch, discount=0.5).tolist() == [3.5]


@pytest.mark.parametrize("nothing", [None, ActionSet((), np.zeros((0, 1), np.float32))])
def test_a_state_without_actions_is_worth_zero(nothing: ActionSet | None) -> None:
    batch = _batch(next_actions=nothing)

    assert dqn_target(_adding_network(), batch, discount=0.5).tolist() == [1.0]


def test_the_loss_is_on_the_chosen_action() -> None:
    # Q(1, 4) = 5 against 5.5: 0.5^2 / 2. Against 8 the error is 3, in the linear part: 3 - 1 / 2.
    network = _adding_network()

    assert dqn_loss(network, _batch(), torch.tensor([5.5])).item() == 0.125
    assert dqn_loss(network, _batch(), torch.tensor([8.0])).item() == 2.5


def test_the_target_network_moves_by_its_share_at_its_period() -> None:
    config = DqnConfig(hidden=(4,), target_mix=0.25, target_period_updates=2)
    policy = config.build_policy(SPEC)
    learner = config.build_learner(policy)
    batch = collate(made_up(8), SPEC, _CPU)
    start = policy.network.out.weight.clone()

    learner.update(batch)
    after_one = policy.network.out.weight.clone()
    learner.update(batch)

    trained = learner.training_state()["network.out.weight"]
    assert torch.equal(after_one, start)
    torch.testing.assert_close(policy.network.out.weight, start + 0.25 * (trained - start))


def test_a_mix_of_one_serves_what_was_trained() -> None:
    config = DqnConfig(hidden=(4,), target_mix=1.0)
    policy = config.build_policy(SPEC)
    learner = config.build_learner(policy)

    learner.update(collate(made_up(8), SPEC, _CPU))

    trained = learner.training_state()["network.out.weight"]
    assert torch.equal(policy.network.out.weight, trained)


def test_a_surprising_reward_moves_the_weights_no_further_than_a_mild_one() -> None:
    moved = []
    for reward in (10.0, 1e6):
        torch.manual_seed(0)
        config = DqnConfig(hidden=(4,), max_gradient_norm=1.0, target_mix=1.0)
        policy = config.build_policy(SPEC)
        start = policy.network.out.weight.clone()
        batch = collate(made_up(8), SPEC, _CPU)
        batch = replace(batch, reward=torch.full_like(batch.reward, reward))
        config.build_learner(policy).update(batch)
        moved.append((policy.network.out.weight - start).norm())

    torch.testing.assert_close(moved[0], moved[1], rtol=1e-3, atol=1e-6)
