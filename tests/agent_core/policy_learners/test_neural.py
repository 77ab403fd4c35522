"""The neural bandit: what it predicts under each loss, by hand, and that exploiting is exploiting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from agent_core.agent import Agent, seed_of
from agent_core.config import parse_agent_config
from agent_core.policy_learners.bandits.neural import NeuralConfig, log_losses, squared_losses
from agent_core.training.collate import collate
from agent_core.types import ProblemSpec, TransitionBatch
from tests.support.learners import SPEC, action_set, made_up, ragged


def _batch(rewards: list[float]) -> TransitionBatch:
    batch = collate(made_up(len(rewards)), SPEC, torch.device("cpu"))
    return batch.with_reward(torch.tensor(rewards))


def test_the_squared_loss_is_the_square_of_the_error() -> None:
    losses = squared_losses(torch.tensor([1.0, -0.5]), torch.tensor([3.0, -0.5]))

    # Two off, and none off.
    assert losses.tolist() == [4.0, 0.0]


def test_the_log_loss_is_the_cross_entropy() -> None:
    log_odds = torch.tensor([0.0, float(np.log(3.0))])

    losses = log_losses(log_odds, torch.tensor([1.0, 0.5]))

    # p = 1/2: -log(1/2) = log 2. p = 3/4: -(log(3/4) + log(1/4)) / 2 = (log(4/3) + log 4) / 2.
    expected = [np.log(2.0), (np.log(4 / 3) + np.log(4.0)) / 2]
    np.testing.assert_allclose(losses.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("loss", ["squared", "log"])
def test_every_action_comes_to_be_worth_its_mean_reward(loss: str) -> None:
    config = NeuralConfig.model_validate({"loss": loss, "hidden": [16], "learning_rate": 0.02})
    torch.manual_seed(0)
    policy = config.build_policy(SPEC)
    learner = config.build_learner(policy, SPEC)
    seen = made_up(1) * 4
    batch = collate(seen, SPEC, torch.device("cpu")).with_reward(torch.tensor([1.0, 0.0, 1.0, 1.0]))

    for _ in range(200):
        learner.update(batch)

    # Three of four rewards were 1.
    state, action = batch.state[:1], seen[0].actions.features[[seen[0].action]]
    scorer = policy.scorer()
    value = scorer.value(state[0].numpy(), scorer.prepare(action))
    assert value == pytest.approx([0.75], abs=0.02)


def test_the_error_of_a_transition_is_how_far_the_value_was_off() -> None:
    config = NeuralConfig(hidden=(4,))
    policy = config.build_policy(SPEC)
    batch = _batch([1.0, 2.0])
    before = policy.network.pairs(batch.state, batch.chosen_features()).detach()

    _, errors = config.build_learner(policy, SPEC).update(batch)

    assert errors is not None
    torch.testing.assert_close(errors, (before - batch.reward).abs())


def test_a_transition_of_no_weight_moves_nothing() -> None:
    config = NeuralConfig(hidden=(4,), weight_decay=0.0)
    learner = config.build_learner(config.build_policy(SPEC), SPEC)
    batch = _batch([1.0, 2.0])
    batch.weight.zero_()

    assert learner.update(batch).metrics["gradient_norm"] == 0.0


def test_rewards_outside_of_the_unit_interval_are_counted_where_they_cannot_be() -> None:
    config = NeuralConfig(hidden=(4,), loss="log")
    learner = config.build_learner(config.build_policy(SPEC), SPEC)

    metrics, errors = learner.update(_batch([2.0, 1.0, -0.5, 0.0]))

    assert metrics["rewards_outside"] == 0.5
    assert errors is not None
    assert float(errors.max()) < 1.0


def test_the_numpy_form_of_means_agrees_with_torch_however_sure_they_are() -> None:
    policy = NeuralConfig(hidden=(4,), loss="log").build_policy(SPEC)
    actions, state = action_set(np.random.default_rng(0), 3), np.ones(3, np.float32)
    with torch.no_grad():
        policy.network.out.bias.fill_(-1e4)

    scorer = policy.scorer()
    value = scorer.value(state, scorer.prepare(actions.features))

    expected = policy.values(torch.from_numpy(state).unsqueeze(0), ragged([actions]))
    np.testing.assert_allclose(value, expected.detach().numpy(), atol=1e-6)


def test_deciding_builds_no_graph_and_leaves_the_weights_alone() -> None:
    policy = NeuralConfig(hidden=(4,)).build_policy(SPEC)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    scorer = policy.scorer()

    scorer.value(np.zeros(3, np.float32), scorer.prepare(np.ones((2, 2), np.float32)))

    assert all(parameter.grad is None for parameter in policy.parameters())
    after = policy.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


_EXPLORATIONS: list[dict[str, Any]] = [
    {"kind": "epsilon_greedy", "epsilon": 1.0},
    {"kind": "square_cb", "scale": 0.001},
    {"kind": "fast_cb", "scale": 0.001},
    {"kind": "boltzmann", "temperature": 100.0},
]


@pytest.mark.parametrize("exploration", _EXPLORATIONS, ids=lambda e: e["kind"])
def test_exploiting_plays_the_best_action_whatever_the_seed(exploration: dict[str, Any]) -> None:
    config = parse_agent_config(
        {
            "observation": {"kind": "vector", "dim": 3},
            "actions": {"kind": "vector", "dim": 2},
            "policy_learner": {"kind": "neural", "hidden": [8]},
            "exploration": exploration,
            "replay": {"kind": "fifo"},
        }
    )
    torch.manual_seed(1)
    policy = NeuralConfig(hidden=(8,)).build_policy(ProblemSpec(3, 2, 10))
    agent = Agent(config, policy, experience=0)
    actions, state = action_set(np.random.default_rng(0), 5), np.ones(3, np.float32)
    prepared = agent.prepare(actions)

    def played(explore: bool) -> set[int]:
        seeds = (seed_of(str(number), "t") for number in range(50))
        return {agent.act(state, actions, prepared, seed=s, explore=explore).index for s in seeds}

    best = int(policy.scorer().value(state, prepared).argmax())
    assert played(explore=False) == {best}
    assert len(played(explore=True)) > 1
