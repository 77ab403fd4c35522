"""PPO: its loss by hand, what it takes the old policy to be, and where episodes end."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from agent_core.functional.returns import generalized_advantages
from agent_core.policy_learners.actor_critic.ppo import PpoConfig, set_chances
from agent_core.policy_learners.proximal import (
    Judged,
    ProximalLearner,
    errors_of,
    surrogate_loss,
    value_loss,
)
from agent_core.training.collate import collate
from agent_core.types import Rollout, TransitionBatch
from tests.support.learners import SPEC, fingerprint, made_up, one_by_one, ragged, sets_of
from tests.support.plain_networks import PLAIN_SPEC, adding_network, numbered, passing_network
from tests.support.transitions import a_transition

_CPU = torch.device("cpu")
_LN2, _LN3 = math.log(2), math.log(3)


def _decision(**changes: Any) -> Judged:
    """One decision, between actions of probability 1/4 and 3/4; the second was taken."""
    batch = Judged(
        state=torch.tensor([[0.0]]),
        actions=ragged([numbered(0.0, _LN3)]),
        action=torch.tensor([1]),
        log_propensity=torch.tensor([math.log(0.75)]),
        advantage=torch.tensor([2.0]),
        value_target=torch.tensor([3.0]),
        weight=torch.ones(1),
    )
    return replace(batch, **changes)


def _steps(*rewards: float, **last: Any) -> TransitionBatch:
    """An episode of states 1, 2, ... with these rewards, which ends as `last` says."""
    steps = [
        a_transition(
            state=np.array([number], np.float32),
            actions=numbered(0.0, 1.0),
            reward=reward,
            next_state=np.array([number + 1], np.float32),
            next_actions=numbered(0.0),
            terminated=False,
        )
        for number, reward in enumerate(rewards, start=1)
    ]
    steps[-1] = replace(steps[-1], **last)
    return collate(steps, PLAIN_SPEC, _CPU)


def test_the_old_probability_is_the_logged_propensity() -> None:
    # Played with 0.5, for a floor say, and now 0.75: the ratio is 1.5, and 1.2 is all that counts.
    batch = _decision(log_propensity=torch.tensor([-_LN2]))

    chances = set_chances(adding_network(), batch)
    loss, log_ratio = surrogate_loss(*chances, batch, clip=0.2, entropy_weight=0.0)

    assert log_ratio.exp().item() == pytest.approx(1.5)
    assert loss.item() == pytest.approx(-1.2 * 2.0)


def test_entropy_is_rewarded_and_moves_the_actor() -> None:
    # H(1/4, 3/4) = 2 ln 2 - (3/4) ln 3. Without an advantage it is all there is.
    actor = adding_network()
    batch = _decision(advantage=torch.tensor([0.0]))

    log_p, entropy = set_chances(actor, batch)
    loss, _ = surrogate_loss(log_p, entropy, batch, clip=0.2, entropy_weight=0.5)
    gradient = torch.autograd.grad(loss, actor.out.weight)[0]

    assert entropy.item() == pytest.approx(2 * _LN2 - 0.75 * _LN3)
    assert loss.item() == pytest.approx(-0.5 * (2 * _LN2 - 0.75 * _LN3))
    assert gradient.abs().sum() > 0


def test_losses_are_weighted() -> None:
    # Ratio 1 and advantage 2: -2. V(0) = 0 against 3: 9 / 2.
    batch = _decision(weight=torch.tensor([0.5]))

    chances = set_chances(adding_network(), batch)
    loss, _ = surrogate_loss(*chances, batch, clip=0.2, entropy_weight=0.0)

    assert loss.item() == pytest.approx(-1.0)
    assert value_loss(passing_network(), batch).item() == pytest.approx(2.25)


def test_a_minibatch_holds_the_sets_of_its_own_decisions() -> None:
    batch = Judged(
        state=torch.tensor([[1.0], [2.0]]),
        actions=ragged([numbered(1.0), numbered(2.0, 3.0)]),
        action=torch.tensor([0, 1]),
        log_propensity=torch.tensor([-1.0, -2.0]),
        advantage=torch.tensor([1.0, 2.0]),
        value_target=torch.tensor([3.0, 4.0]),
        weight=torch.ones(2),
    )

    part = batch.rows(torch.tensor([1]))

    assert part.state.tolist() == [[2.0]]
    assert part.actions.features.flatten().tolist() == [2.0, 3.0]
    assert part.actions.offsets.tolist() == [0, 2]
    assert (part.action.item(), part.advantage.item(), part.value_target.item()) == (1, 2.0, 4.0)


def test_judged_decisions_split_into_parts_with_their_own_sets() -> None:
    batch = Judged(
        state=torch.tensor([[1.0], [2.0], [3.0], [4.0]]),
        actions=sets_of(1, 2, 3, 1),
        action=torch.tensor([0, 1, 2, 0]),
        log_propensity=torch.tensor([-1.0, -2.0, -3.0, -4.0]),
        advantage=torch.tensor([1.0, 2.0, 3.0, 4.0]),
        value_target=torch.tensor([5.0, 6.0, 7.0, 8.0]),
        weight=torch.ones(4),
    )

    first, second = batch.split(2)

    # Of the sets {0}, {1, 2} and {3, 4, 5}, {6} the actions 0, 2 and 5, 6 were taken.
    chosen = [
        part.actions.features[part.chosen_rows()].flatten().tolist() for part in (first, second)
    ]
    assert chosen == [[0.0, 2.0], [5.0, 6.0]]
    assert second.state.tolist() == [[3.0], [4.0]]
    assert second.value_target.tolist() == [7.0, 8.0]


@pytest.mark.parametrize(
    ("last", "errors"),
    [
        # V(s) = s. 1 + 3 / 2 - 2 = 0.5 where it goes on, 1 - 2 = -1 where it ends.
        ({"truncated": True}, [1.0, 0.5]),
        ({"terminated": True}, [1.0, -1.0]),
        # The next state of a truncated step is its own, whatever follows in the rollout.
        ({"truncated": True, "next_state": np.array([9.0], np.float32)}, [1.0, 3.5]),
    ],
    ids=["truncated", "terminated", "truncated elsewhere"],
)
def test_only_termination_stops_bootstrapping(last: dict[str, Any], errors: list[float]) -> None:
    # The first step: 1 + 2 / 2 - 1 = 1.
    batch = _steps(1.0, 1.0, **last)

    found = errors_of(passing_network(), batch, discount=0.5)

    assert found.tolist() == errors


def test_a_truncated_episode_learns_nothing_from_the_one_that_follows() -> None:
    # Two episodes of one step each, both cut: 1 + 2 / 2 - 1 = 1 and 7 + 2 / 2 - 1 = 7.
    first, second = _steps(1.0, truncated=True), _steps(7.0, truncated=True)
    errors = torch.cat([errors_of(passing_network(), b, 0.5) for b in (first, second)])

    advantages = generalized_advantages(errors, torch.tensor([0, 1, 2]), 0.5, 1.0)

    assert advantages.tolist() == [1.0, 7.0]


def test_a_rollout_is_gone_through_as_often_as_asked_in_whole_minibatches() -> None:
    config = PpoConfig(hidden=(4,), epochs=3, minibatch_size=4)
    policy = config.build_policy(SPEC)
    rollout = Rollout(collate(made_up(9), SPEC, _CPU), torch.tensor([0, 4, 9]))

    learner = config.build_learner(policy, SPEC)
    assert isinstance(learner, ProximalLearner)
    updates = learner.learn_rollout(rollout, torch.Generator(), one_by_one)

    # Nine are two minibatches of four; one is left out of each epoch.
    assert len(updates) == 3 * 2


def test_the_shuffle_comes_from_the_generator_alone() -> None:
    config = PpoConfig(hidden=(4,), minibatch_size=4)
    rollout = Rollout(collate(made_up(12), SPEC, _CPU), torch.tensor([0, 4, 8, 12]))

    def trained(seed: int) -> str:
        torch.manual_seed(0)
        policy = config.build_policy(SPEC)
        learner = config.build_learner(policy, SPEC)
        assert isinstance(learner, ProximalLearner)
        torch.manual_seed(seed + 100)
        learner.learn_rollout(rollout, torch.Generator().manual_seed(seed), one_by_one)
        return fingerprint(policy.state_dict())

    assert trained(1) == trained(1)
    assert trained(1) != trained(2)
