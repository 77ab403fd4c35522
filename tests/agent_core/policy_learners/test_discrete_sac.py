"""Discrete SAC: targets and losses by hand, and the temperature."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from agent_core.networks.twin_critics import TwinCritics
from agent_core.policy_learners.actor_critic.discrete_sac import (
    DiscreteSacConfig,
    DiscreteSacLearner,
    actor_loss,
    critic_loss,
    soft_target,
    temperature_loss,
)
from agent_core.training.collate import collate
from agent_core.types import ActionSet, TransitionBatch
from tests.support.learners import SPEC, made_up
from tests.support.plain_networks import PLAIN_SPEC, adding_network, numbered
from tests.support.transitions import a_transition

_CPU = torch.device("cpu")
_LN2, _LN3 = math.log(2), math.log(3)
_HALF = torch.tensor(0.5)


def _twins(gap: float = 0.0) -> TwinCritics:
    """relu(s + a), and that plus `gap`."""
    twins = TwinCritics(PLAIN_SPEC, (1,))
    twins.first, twins.second = adding_network(), adding_network()
    torch.nn.init.constant_(twins.second.out.bias, gap)
    return twins


def _batch(**changes: Any) -> TransitionBatch:
    fields: dict[str, Any] = {
        "state": np.array([0.0], np.float32),
        "actions": numbered(0.0, _LN3),
        "action": 1,
        "reward": 1.0,
        "next_state": np.array([0.0], np.float32),
        "next_actions": numbered(0.0, _LN3),
        "terminated": False,
    }
    return collate([a_transition(**(fields | changes))], PLAIN_SPEC, _CPU)


# Of probabilities 1/4 and 3/4, with logits and values 0 and ln 3 alike.
_ENTROPY = 2 * _LN2 - 0.75 * _LN3
_MEAN = 0.75 * _LN3


def test_the_target_is_the_mean_over_the_next_available_actions_and_their_entropy() -> None:
    # 1 + 0.5 * (3/4 ln 3 + 0.5 * H).
    target = soft_target(adding_network(), _twins(), _batch(), _HALF, discount=0.5)

    assert target.item() == pytest.approx(1 + 0.5 * (_MEAN + 0.5 * _ENTROPY))


def test_an_action_that_is_not_available_next_does_not_count() -> None:
    # Only the second is left: its value ln 3, no entropy.
    batch = _batch(next_actions=numbered(_LN3))

    target = soft_target(adding_network(), _twins(), batch, _HALF, discount=0.5)

    assert target.item() == pytest.approx(1 + 0.5 * _LN3)


def test_the_smaller_critic_is_believed() -> None:
    twins = _twins(gap=-1.0)

    target = soft_target(adding_network(), twins, _batch(), _HALF, discount=0.5)

    assert target.item() == pytest.approx(1 + 0.5 * (_MEAN - 1.0 + 0.5 * _ENTROPY))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"terminated": True}, 1.0),
        ({"next_state": None}, 1.0),
        ({"next_actions": None}, 1.0),
        ({"next_actions": ActionSet((), np.zeros((0, 1), np.float32))}, 1.0),
        ({"truncated": True}, 1 + 0.5 * (_MEAN + 0.5 * _ENTROPY)),
    ],
    ids=["terminated", "nothing next", "no next actions", "none allowed next", "truncated"],
)
def test_only_what_goes_on_bootstraps(changes: dict[str, Any], expected: float) -> None:
    target = soft_target(adding_network(), _twins(), _batch(**changes), _HALF, discount=0.5)

    assert target.item() == pytest.approx(expected)


def test_the_actor_pays_for_lost_value_and_for_lost_entropy() -> None:
    # sum of pi * (0.5 ln pi - Q) = -0.5 H - 3/4 ln 3.
    loss, entropy = actor_loss(adding_network(), _twins(), _batch(), _HALF)

    assert loss.item() == pytest.approx(-0.5 * _ENTROPY - _MEAN)
    assert entropy.item() == pytest.approx(_ENTROPY)


def test_the_actor_stands_still_where_it_is_the_softmax_of_the_values() -> None:
    # At temperature 1 and with logits equal to the values no move pays.
    actor = adding_network()
    loss, _ = actor_loss(actor, _twins(), _batch(), torch.tensor(1.0))

    gradients = torch.autograd.grad(loss, list(actor.parameters()))

    assert max(gradient.abs().max().item() for gradient in gradients) < 1e-6


def test_both_critics_are_trained_and_rows_are_weighted() -> None:
    # Half of (1 * 4 + 3 * 0) / 2, and half of (1 * 0 + 3 * 4) / 2.
    errors = torch.tensor([[2.0, 0.0], [0.0, 2.0]])

    assert critic_loss(errors, torch.tensor([1.0, 3.0])).item() == 1.0 + 3.0


def test_the_temperature_falls_where_there_is_more_entropy_than_aimed_at() -> None:
    log_temperature = torch.tensor(-2.0, requires_grad=True)
    entropy, aim = torch.tensor([1.0, 0.5]), torch.tensor([0.5, 0.25])

    loss = temperature_loss(log_temperature, entropy, aim, torch.ones(2))
    (slope,) = torch.autograd.grad(loss, log_temperature)

    # (0.5 + 0.25) / 2, so that a step down the slope lowers it.
    assert slope.item() == 0.375


def test_a_single_action_leaves_the_temperature_alone() -> None:
    config = DiscreteSacConfig(hidden=(4,))
    learner = config.build_learner(config.build_policy(PLAIN_SPEC), PLAIN_SPEC)
    before = learner.training_state()["temperature.log"].clone()

    learner.update(_batch(actions=numbered(1.0), action=0))

    assert torch.equal(learner.training_state()["temperature.log"], before)


def test_without_a_learning_rate_the_temperature_stays_as_it_was() -> None:
    config = DiscreteSacConfig(hidden=(4,), initial_temperature=0.1, temperature_learning_rate=0.0)
    learner = config.build_learner(config.build_policy(SPEC), SPEC)
    batch = collate(made_up(8), SPEC, _CPU)

    seen = [learner.update(batch).metrics["temperature"].item() for _ in range(3)]

    assert seen == pytest.approx([0.1] * 3, rel=1e-6)


def test_temperature_targets_and_optimizers_survive_a_restart() -> None:
    config = DiscreteSacConfig(hidden=(4,))
    batch = collate(made_up(8), SPEC, _CPU)

    def fresh() -> DiscreteSacLearner:
        learner = config.build_learner(config.build_policy(SPEC), SPEC)
        assert isinstance(learner, DiscreteSacLearner)
        return learner

    learner, restored = fresh(), fresh()
    for _ in range(3):
        learner.update(batch)
    restored.policy.load_state_dict(learner.policy.state_dict())
    restored.load_training_state(learner.training_state())

    first, second = (one.update(batch).metrics for one in (learner, restored))

    assert first == second
    names = learner.training_state().keys()
    assert {"temperature.log", "temperature_step.moments"} <= names


def test_errors_are_those_of_both_critics_on_average() -> None:
    config = DiscreteSacConfig(hidden=(4,))
    learner = config.build_learner(config.build_policy(SPEC), SPEC)

    update = learner.update(collate(made_up(8), SPEC, _CPU))

    assert update.errors is not None
    assert update.errors.shape == (8,)
    assert (update.errors >= 0).all()
