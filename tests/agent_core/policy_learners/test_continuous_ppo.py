"""PPO over a box: advantages by hand, and ratios that are exact."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from agent_core.functional.policy_gradient import log_of_propensity
from agent_core.networks.perceptrons import StateNetwork
from agent_core.policy_learners.actor_critic.continuous_ppo import ContinuousPpoConfig, box_chances
from agent_core.policy_learners.box import TruncatedGaussianPolicy
from agent_core.policy_learners.proximal import Judged, advantages, surrogate_loss, value_loss
from agent_core.training.collate import collate
from agent_core.types import ActionSet, Box, ProblemSpec, RaggedActions, Rollout
from tests.support.learners import fingerprint, one_by_one
from tests.support.transitions import a_transition

_CPU = torch.device("cpu")
_LINE = ProblemSpec(1, 1, 1, box=Box((-4.0,), (4.0,)))


def _policy() -> TruncatedGaussianPolicy:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return TruncatedGaussianPolicy(_LINE, (8,))


def _critic() -> StateNetwork:
    """V(s) = relu(s)."""
    critic = StateNetwork(_LINE, (1,))
    for name, parameter in critic.named_parameters():
        torch.nn.init.constant_(parameter, float("bias" not in name))
    return critic.requires_grad_(False)


def _step(state: float, reward: float, next_state: float, **changes: Any) -> Any:
    fields = {
        "state": np.array([state], np.float32),
        "actions": ActionSet(("box",), np.array([[0.5]], np.float32)),
        "action": 0,
        "reward": reward,
        "next_state": np.array([next_state], np.float32),
        "terminated": False,
    }
    return a_transition(**(fields | changes))


def _rollout() -> Rollout:
    """An episode of two steps that was cut, and one of one step that ended."""
    steps = [
        _step(1.0, 1.0, 2.0),
        _step(2.0, 0.0, 4.0, truncated=True),
        _step(3.0, 5.0, 9.0, terminated=True),
    ]
    return Rollout(collate(steps, _LINE, _CPU), torch.tensor([0, 2, 3]))


def test_advantages_by_hand_stop_at_the_end_of_each_episode() -> None:
    advantage, value_target = advantages(_critic(), _rollout(), discount=0.5, trace=0.5)

    # Errors: 1 + 0.5 * 2 - 1 = 1; the cut bootstraps from its own next state, 0 + 0.5 * 4 - 2 = 0;
    # the end does not, 5 - 3 = 2. Each counts 1/4 of the one after it in its own episode.
    assert advantage.tolist() == [1.0, 0.0, 2.0]
    assert value_target.tolist() == [2.0, 2.0, 5.0]


def _judged(density_factor: float, advantage: float) -> tuple[TruncatedGaussianPolicy, Judged]:
    """Decisions of the policy itself, whose logged density was multiplied by a factor."""
    policy = _policy()
    scorer, state = policy.scorer(), np.array([0.3], np.float32)
    drawn = [scorer.draw(state, seed) for seed in range(20)]
    action = torch.from_numpy(np.stack([a for a, _ in drawn]))
    density = torch.tensor([d * density_factor for _, d in drawn])
    ones = torch.ones(20)
    states = torch.full((20, 1), 0.3)
    actions, first = RaggedActions(action, torch.arange(21)), torch.zeros(20, dtype=torch.int64)
    judgement = density.log(), advantage * ones, 0 * ones, ones
    return policy, Judged(states, actions, first, *judgement)


def test_what_the_policy_just_played_has_a_ratio_of_one() -> None:
    policy, judged = _judged(1.0, 2.0)

    loss, log_ratio = surrogate_loss(
        *box_chances(policy.actor, judged), judged, clip=0.2, entropy_weight=0.0
    )

    torch.testing.assert_close(log_ratio, torch.zeros(20), atol=1e-4, rtol=0)
    assert loss.item() == pytest.approx(-2.0, abs=1e-3)


@pytest.mark.parametrize(
    ("factor", "advantage", "expected"),
    # Ratios of 2 and 1/2. A gain is clipped where it would be too large, a loss is not.
    [(0.5, 1.0, 1.2), (0.5, -1.0, -2.0), (2.0, 1.0, 0.5), (2.0, -1.0, -0.8)],
)
def test_ratios_are_clipped(factor: float, advantage: float, expected: float) -> None:
    policy, judged = _judged(factor, advantage)

    loss, _ = surrogate_loss(
        *box_chances(policy.actor, judged), judged, clip=0.2, entropy_weight=0.0
    )

    assert -loss.item() == pytest.approx(expected, rel=1e-3)


def test_an_entropy_bonus_widens_the_policy() -> None:
    policy, judged = _judged(1.0, 0.0)

    loss, _ = surrogate_loss(
        *box_chances(policy.actor, judged), judged, clip=0.2, entropy_weight=1.0
    )

    (gradient,) = torch.autograd.grad(loss, [policy.actor.raw_std])
    assert gradient.item() < 0


def test_the_value_loss_is_half_the_mean_square() -> None:
    judged = _judged(1.0, 0.0)[1]

    # V(0.3) is 0.3, and all targets are 0.
    assert value_loss(_critic(), judged).item() == pytest.approx(0.045)


def test_in_64_dimensions_the_log_keeps_the_ratio_of_one() -> None:
    spec = ProblemSpec(1, 64, 1, box=Box((-0.1,) * 64, (0.1,) * 64))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        policy = TruncatedGaussianPolicy(spec, (8,))
    torch.nn.init.constant_(policy.actor.raw_std, -1.0)
    scorer, state = policy.scorer(), np.array([0.3], np.float32)
    steps = [
        _step(0.3, 0.0, 0.0, actions=ActionSet(("box",), action[None]), propensity=density)
        for action, density in (scorer.draw(state, seed) for seed in range(9))
    ]

    batch = collate(steps, spec, _CPU)

    # Far more than the 3e38 that a float32 holds, and yet each decision has the density that it was drawn with.
    now = policy.actor.log_density(batch.state, batch.chosen_features())
    assert float(batch.propensity.min()) > 1e100
    torch.testing.assert_close(now, log_of_propensity(batch.propensity), atol=2e-2, rtol=0)


@pytest.mark.parametrize("density", [1e-60, 1e-300, 1e300])
def test_a_density_that_no_float32_holds_spoils_nothing(density: float) -> None:
    config = ContinuousPpoConfig(hidden=(4,), epochs=1)
    learner: Any = config.build_learner(config.build_policy(_LINE), _LINE)
    step = _step(1.0, 1.0, 2.0, terminated=True, propensity=density)
    rollout = Rollout(collate([step, step], _LINE, _CPU), torch.tensor([0, 1, 2]))

    updates = learner.learn_rollout(rollout, torch.Generator().manual_seed(0), one_by_one)

    assert all(math.isfinite(value) for update in updates for value in update.metrics.values())


def test_a_rollout_is_gone_through_in_epochs_of_whole_minibatches() -> None:
    config = ContinuousPpoConfig(hidden=(4,), epochs=3, minibatch_size=2)
    learner: Any = config.build_learner(config.build_policy(_LINE), _LINE)
    before = fingerprint(learner.policy.state_dict())

    updates = learner.learn_rollout(_rollout(), torch.Generator().manual_seed(0), one_by_one)

    # Three steps are one minibatch of two; the third is left out of its epoch.
    assert len(updates) == 3 * 1
    assert fingerprint(learner.policy.state_dict()) != before
    assert {"actor_loss", "critic_loss", "clipped_share"} <= set(updates[0].metrics)
