"""Implicit Q-learning and cloning over a box, by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from agent_core.functional.implicit import expectile_loss, imitation_loss, preferences
from agent_core.networks.box import TruncatedGaussianActor
from agent_core.networks.perceptrons import StateNetwork
from agent_core.policy_learners.box import chosen_log_density
from agent_core.policy_learners.implicit import iql_target
from agent_core.policy_learners.offline.continuous_cloning import (
    ContinuousCloningConfig,
    density_loss,
)
from agent_core.policy_learners.offline.iql import IqlConfig
from agent_core.training.collate import collate
from agent_core.types import ActionSet, Box, ProblemSpec, TransitionBatch
from tests.support.learners import BOX_SPEC, made_up
from tests.support.transitions import a_transition

_CPU = torch.device("cpu")
_LINE = ProblemSpec(1, 1, 1, box=Box((-4.0,), (4.0,)))


def _batch(**changes: Any) -> TransitionBatch:
    fields = {
        "state": np.array([1.0], np.float32),
        "actions": ActionSet(("box",), np.array([[0.0]], np.float32)),
        "action": 0,
        "reward": 3.0,
        "next_state": np.array([2.0], np.float32),
        "terminated": False,
    }
    return collate([a_transition(**(fields | changes))], _LINE, _CPU)


def _middle_actor() -> TruncatedGaussianActor:
    """Its peak is 0 in every state, half a half-width wide."""
    actor = TruncatedGaussianActor(_LINE, (1,))
    for parameter in actor.peak.parameters():
        torch.nn.init.zeros_(parameter)
    return actor


def test_expectiles_by_hand() -> None:
    differences, weight = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 3.0])

    # 0.9 * 4 and 0.1 * 1 * 3, halved.
    assert expectile_loss(differences, 0.9, weight).item() == pytest.approx(1.95)
    assert expectile_loss(differences, 0.5, weight).item() == pytest.approx(1.75)


def test_the_upper_expectile_lies_above_the_mean() -> None:
    # Of 0 and 1, expectile 0.9 is the v with 0.9 (1 - v) = 0.1 v.
    v = torch.tensor(0.9, requires_grad=True)

    loss = expectile_loss(torch.tensor([0.0, 1.0]) - v, 0.9, torch.ones(2))

    assert torch.autograd.grad(loss, v)[0].item() == pytest.approx(0, abs=1e-6)


def test_preferences_are_exponential_and_bounded() -> None:
    preferred = preferences(torch.tensor([-1.0, 0.0, 0.5, 1e6]), 2.0)

    assert preferred.tolist() == pytest.approx([math.exp(-2), 1.0, math.e, 100.0])


def test_the_target_asks_for_no_action() -> None:
    value = StateNetwork(_LINE, (1,))
    for name, parameter in value.named_parameters():
        torch.nn.init.constant_(parameter, float("bias" not in name))

    # V(s) = relu(s): 3 + 0.5 * 2.
    assert iql_target(value, _batch(), 0.5).item() == 4.0
    assert iql_target(value, _batch(truncated=True), 0.5).item() == 4.0
    assert iql_target(value, _batch(terminated=True), 0.5).item() == 3.0


def test_imitation_is_weighted_log_density_per_unit_of_the_box() -> None:
    # phi(0) / (0.5 * 0.9544997), since two deviations fit on each side; over a half-width of 4.
    log_density = math.log(0.3989423 / (0.5 * 0.9544997) / 4)

    assert density_loss(_middle_actor(), _batch()).item() == pytest.approx(-log_density, rel=1e-5)
    density = chosen_log_density(_middle_actor(), _batch())
    imitated = imitation_loss(density, torch.tensor([7.0]), torch.ones(1))
    assert imitated.item() == pytest.approx(-7 * log_density, rel=1e-5)


def test_cloning_does_not_look_at_rewards() -> None:
    config = ContinuousCloningConfig(hidden=(4,))
    batch = collate(made_up(8, spec=BOX_SPEC), BOX_SPEC, _CPU)
    losses = []
    for reward in (batch.reward, 100 * batch.reward):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            learner = config.build_learner(config.build_policy(BOX_SPEC), BOX_SPEC)
        losses.append(learner.update(batch.with_reward(reward)).metrics["loss"])

    assert losses[0] == losses[1]


def test_the_value_network_and_its_optimizer_are_saved() -> None:
    config = IqlConfig(hidden=(4,))
    learner = config.build_learner(config.build_policy(BOX_SPEC), BOX_SPEC)

    learner.update(collate(made_up(8, spec=BOX_SPEC), BOX_SPEC, _CPU))

    saved = learner.training_state()
    assert {"value.out.weight", "targets.networks.0.out.weight"} <= set(saved)
    assert {f"{part}_step" for part in ("value", "actor", "critic")} <= {
        name.split(".")[0] for name in saved
    }
