"""REINFORCE: its loss by hand, with and without a baseline."""

from __future__ import annotations

import math

import pytest
import torch

from agent_core.policy_learners.actor_critic.reinforce import (
    ReinforceConfig,
    ReinforceLearner,
    reinforce_loss,
)
from agent_core.training.collate import collate
from agent_core.types import Rollout, TransitionBatch
from tests.support.learners import SPEC, fingerprint, made_up, one_by_one
from tests.support.plain_networks import PLAIN_SPEC, adding_network, numbered
from tests.support.transitions import a_transition

_CPU = torch.device("cpu")


def _rollout() -> Rollout:
    return Rollout(collate(made_up(8), SPEC, _CPU), torch.tensor([0, 4, 8]))


def _learner(config: ReinforceConfig) -> ReinforceLearner:
    torch.manual_seed(0)
    learner = config.build_learner(config.build_policy(SPEC), SPEC)
    assert isinstance(learner, ReinforceLearner)
    return learner


def _decision(action: int) -> TransitionBatch:
    """Between actions of probability 1/4 and 3/4."""
    state = torch.zeros(1).numpy()
    actions = numbered(0.0, math.log(3))
    return collate([a_transition(state=state, actions=actions, action=action)], PLAIN_SPEC, _CPU)


def test_the_loss_is_minus_the_advantage_times_the_log_probability() -> None:
    loss = reinforce_loss(adding_network(), _decision(0), torch.tensor([2.0]))

    assert loss.item() == pytest.approx(2 * math.log(4))


def test_a_good_action_becomes_likelier_and_a_bad_one_less_likely() -> None:
    # d(-A ln p1)/d(logit 1) = -A (1 - p1) = -A / 4; the logit grows with the weight of the output, by
    # ln 3 more for the second action than for the first: the slope is -A / 4 * ln 3.
    actor = adding_network()

    slopes = [
        torch.autograd.grad(
            reinforce_loss(actor, _decision(1), torch.tensor([advantage])), actor.out.weight
        )[0].item()
        for advantage in (1.0, -1.0)
    ]

    assert slopes == pytest.approx([-math.log(3) / 4, math.log(3) / 4])


def test_without_a_baseline_it_learns_and_saves_all_the_same() -> None:
    config = ReinforceConfig(hidden=(4,), has_baseline=False)
    learner = _learner(config)
    before = fingerprint(learner.policy.state_dict())

    (update,) = learner.learn_rollout(_rollout(), torch.Generator(), one_by_one)

    assert math.isfinite(update.metrics["loss"])
    assert fingerprint(learner.policy.state_dict()) != before
    other = _learner(config)
    other.load_training_state(learner.training_state())
    assert fingerprint(other.training_state()) == fingerprint(learner.training_state())


def test_the_first_metric_of_returns_is_the_mean_over_episodes() -> None:
    # Without bootstrapping, at discount 0: the mean of the first rewards.
    config = ReinforceConfig(hidden=(4,), has_baseline=False, discount=0.0)
    rollout = _rollout()

    (update,) = _learner(config).learn_rollout(rollout, torch.Generator(), one_by_one)

    expected = (rollout.batch.reward[0] + rollout.batch.reward[4]) / 2
    assert update.metrics["mean_return"] == pytest.approx(expected.item())


def test_the_baseline_comes_to_what_the_returns_are() -> None:
    # At discount 0 each return is its own reward.
    learner = _learner(ReinforceConfig(hidden=(16,), discount=0.0, baseline_learning_rate=1e-2))
    rollout = _rollout()

    losses = [
        learner.learn_rollout(rollout, torch.Generator(), one_by_one)[0].metrics for _ in range(200)
    ]

    assert losses[-1]["baseline_loss"] < 0.1 * losses[0]["baseline_loss"]
