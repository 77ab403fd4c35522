"""DDPG, TD3, and TD3 with behaviour cloning: targets by hand, delays, and what is saved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from agent_core.functional.critics import squared_loss
from agent_core.networks.box import BoxActor, BoxCritics
from agent_core.policy_learners.actor_critic.ddpg import DdpgConfig
from agent_core.policy_learners.actor_critic.td3 import Td3Config
from agent_core.policy_learners.deterministic import smoothed_target, value_loss
from agent_core.policy_learners.offline.td3_bc import Td3BcConfig, cloning_value_loss
from agent_core.training.collate import collate
from tests.support.box_networks import LINE, line_critics, line_step
from tests.support.learners import BOX_SPEC, fingerprint, made_up

_CPU = torch.device("cpu")


def _actor(mean: float) -> BoxActor:
    """Always plays tanh of `mean`, stretched to [-2, 2]."""
    actor = BoxActor(LINE, (1,))
    for name, parameter in actor.named_parameters():
        torch.nn.init.constant_(parameter, mean if name == "body.out.bias" else 0.0)
    return actor.requires_grad_(False)


def _target(noise: float, **changes: Any) -> float:
    args = _actor(0.0), line_critics(0.5, -0.25), line_step(**changes), torch.tensor([[noise]])
    return smoothed_target(*args, discount=0.5).item()


def test_the_target_takes_the_lower_critic_at_the_smoothed_action() -> None:
    # The actor plays 0, shifted by 0.5 of half the box to 1, which critics see as 0.5:
    # 3 + 0.5 * (2 + 0.5 - 0.25).
    assert _target(0.5) == 4.125


def test_smoothing_does_not_leave_the_box() -> None:
    # 3 + 0.5 * (2 + 1 - 0.25): the action stops at 2, which critics see as 1.
    assert _target(7.0) == 4.375


def test_a_terminated_step_is_worth_its_reward_and_a_truncated_one_bootstraps() -> None:
    assert _target(0.5, terminated=True) == 3.0
    assert _target(0.5, truncated=True) == 4.125


def test_the_critics_loss_is_weighted_and_added_up() -> None:
    errors = torch.tensor([[1.0, -2.0], [0.0, 3.0]])

    # First critic: (2 * 1 + 1 * 4) / 2 = 3. Second: (0 + 9) / 2 = 4.5.
    assert squared_loss(errors, torch.tensor([2.0, 1.0])).item() == 7.5


def test_the_actor_climbs_the_first_critic() -> None:
    # The first critic values action 0 in state 1 at relu(1 + 0) + 0.5.
    batch = replace(line_step(), weight=torch.tensor([2.0]))

    assert value_loss(_actor(0.0), line_critics(0.5, 9.0), batch).item() == -3.0


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_cloning_is_balanced_with_value_whatever_the_unit_of_the_reward(scale: float) -> None:
    critics = line_critics(0.5, 9.0)
    with torch.no_grad():
        for name, parameter in critics.named_parameters():
            if ".out." in name:
                parameter.mul_(scale)

    loss = cloning_value_loss(_actor(0.0), critics, line_step(), value_weight=2.5)

    # Action 0 is 0.5 from the logged 1 in the unit box: 0.25. Lambda * value is 2.5 for a single row.
    assert loss.item() == pytest.approx(0.25 - 2.5)


@pytest.mark.parametrize(("config", "period"), [(Td3Config, 2), (Td3BcConfig, 3), (DdpgConfig, 1)])
def test_the_actor_and_the_targets_move_at_their_period_also_after_a_restart(
    config: Any, period: int
) -> None:
    delay = {"actor_period_updates": period} if period > 1 else {}
    made = config(hidden=(4,), **delay)
    batch = collate(made_up(8, spec=BOX_SPEC), BOX_SPEC, _CPU)
    policy = made.build_policy(BOX_SPEC)
    learner = made.build_learner(policy, BOX_SPEC)

    moved = []
    for _ in range(6):
        # Each update is made by a learner of its own, with what the one before has saved.
        before = policy.state_dict(), learner.training_state()
        before = {k: v.clone() for k, v in before[0].items()}, before[1]
        policy = made.build_policy(BOX_SPEC)
        policy.load_state_dict(before[0])
        learner = made.build_learner(policy, BOX_SPEC)
        learner.load_training_state(before[1])
        learner.update(batch)
        target = "target_critics.networks.0.out.weight"
        same_target = torch.equal(learner.training_state()[target], before[1][target])
        same_actor = fingerprint(policy.state_dict()) == fingerprint(before[0])
        assert same_target == same_actor
        moved.append(not same_actor)

    assert moved == [(number + 1) % period == 0 for number in range(6)]


def test_a_refused_update_counts_for_the_delay() -> None:
    config = Td3Config(hidden=(4,))
    learner = config.build_learner(config.build_policy(BOX_SPEC), BOX_SPEC)
    good = collate(made_up(8, spec=BOX_SPEC), BOX_SPEC, _CPU)
    bad = good.with_reward(torch.full_like(good.reward, float("nan")))

    learner.update(good)
    learner.update(bad)

    assert learner.training_state()["updates"].item() == 2


def test_the_smoothing_noise_is_cut_off() -> None:
    # With noise cut off at 0 the targets are those of no noise at all.
    batch = collate(made_up(8, spec=BOX_SPEC), BOX_SPEC, _CPU)
    targets = []
    for fields in ({"smoothing": 5.0, "smoothing_limit": 0.0}, {"smoothing": 0.0}):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            config = Td3Config(hidden=(4,), **fields)
            learner = config.build_learner(config.build_policy(BOX_SPEC), BOX_SPEC)
        targets.append(learner.update(batch).metrics["mean_target"])

    assert targets[0] == targets[1]


def test_errors_are_the_mean_distance_of_the_critics_from_the_target() -> None:
    config = DdpgConfig(hidden=(4,), discount=0.0)
    learner = config.build_learner(config.build_policy(BOX_SPEC), BOX_SPEC)
    batch = collate(made_up(8, spec=BOX_SPEC), BOX_SPEC, _CPU)
    critics = BoxCritics(BOX_SPEC, (4,), members=1)
    state = learner.training_state()
    critics.load_state_dict(
        {k.removeprefix("critics."): v for k, v in state.items() if k.startswith("critics.")}
    )

    errors = learner.update(batch).errors

    expected = (critics.chosen(batch)[0] - batch.reward).abs()
    assert errors is not None
    torch.testing.assert_close(errors, expected.detach())
