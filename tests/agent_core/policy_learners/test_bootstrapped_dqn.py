"""Bootstrapped DQN: who learns from what, for ever, and each member by its own target."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agent_core.policy_learners.members import members_target
from agent_core.policy_learners.value_based.bootstrapped_dqn import (
    BootstrappedDqnConfig,
    bootstrapped_losses,
    learns,
)
from agent_core.training.collate import collate
from tests.support.learners import SPEC, action_set, agent_learner, made_up, ragged
from tests.support.value_networks import NUMBERS, adding_network, numbers, one_step

_CPU = torch.device("cpu")


def test_each_member_takes_what_is_best_to_itself() -> None:
    # Members think 3 and -3 of the first action, 5 and -5 of the second: 1 + 0.5 * (5, -3).
    following = torch.tensor([[3.0, -3.0], [5.0, -5.0]])

    assert members_target(following, one_step(), 0.5).tolist() == [[3.5, -0.5]]


def test_sets_of_different_sizes_keep_apart() -> None:
    transitions = [made_up(1)[0], made_up(2)[1]]
    batch = collate(transitions, SPEC, _CPU)
    following = torch.randn(
        len(batch.next_actions.features), 3, generator=torch.Generator().manual_seed(0)
    )

    target = members_target(following, batch, 1.0)

    _, first, second = batch.next_actions.offsets.tolist()
    expected = [following[:first].amax(0), following[first:second].amax(0)]
    exists = batch.bootstraps.unsqueeze(1)
    torch.testing.assert_close(target, batch.reward.unsqueeze(1) + exists * torch.stack(expected))


def test_a_terminated_step_is_worth_its_reward_to_all() -> None:
    following = torch.ones(2, 3)

    assert members_target(following, one_step(terminated=True), 0.5).tolist() == [[1.0] * 3]


def test_a_transition_has_its_learners_in_every_batch_and_after_any_restart() -> None:
    transitions = made_up(30)
    whole = learns(collate(transitions, SPEC, _CPU).key, 10, 0.5)

    again = learns(collate(transitions[7:9], SPEC, _CPU).key, 10, 0.5)

    assert torch.equal(again, whole[7:9])


def test_members_learn_from_their_share_of_the_data_independently() -> None:
    # 2,000 transitions: a share has a standard error of 0.0103.
    mask = learns(collate(made_up(2000), SPEC, _CPU).key, 4, 0.3)

    np.testing.assert_allclose(mask.mean(0), 0.3, atol=0.04)
    both = (mask[:, 0] * mask[:, 1]).mean()
    assert float(both) == pytest.approx(0.09, abs=0.03)
    assert learns(torch.arange(5), 4, 1.0).min() == 1.0


def test_the_loss_is_of_members_that_learn_from_the_row_with_the_prior_on_both_sides() -> None:
    # The prior is the learned network itself, at scale 2: members are 3 x and -3 x, for x = s + a.
    # Chosen, x = 5: 15 and -15. Targets 1 + 0.5 * (15, -9) = 8.5 and -3.5. Errors 6.5 and 11.5.
    policy = BootstrappedDqnConfig(hidden=(1,), members=2, prior_scale=2).build_policy(NUMBERS)
    policy.network, policy.prior = adding_network(1.0, -1.0), adding_network(1.0, -1.0)

    losses = bootstrapped_losses(
        policy.network, policy.network, one_step(), policy, discount=0.5, learning_share=1.0
    )

    assert losses.losses.tolist() == [(6.0 + 11.0) / 2]
    assert losses.errors.tolist() == [9.0]


def test_a_member_that_does_not_learn_from_a_row_stays_as_it_is() -> None:
    config = BootstrappedDqnConfig(hidden=(4,), members=6, target_mix=1.0)
    policy = config.build_policy(SPEC)
    learner = config.build_learner(policy, SPEC)
    batch = collate(made_up(1), SPEC, _CPU)
    before = policy.network.out.weight.clone()

    learner.update(batch)

    moved = (policy.network.out.weight != before).any(dim=1)
    mask = learns(batch.key, 6, 0.5)[0].bool()
    assert torch.equal(moved, mask)
    assert 0 < int(mask.sum()) < 6


def test_the_prior_never_moves_and_is_served() -> None:
    learner = agent_learner(BootstrappedDqnConfig(hidden=(8,), members=3))
    before = {k: v.clone() for k, v in learner.policy.state_dict().items() if "prior" in k}

    learner.learn(made_up(60))

    after = learner.policy.state_dict()
    assert before
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("prior_scale", [0.0, 3.0])
def test_numpy_members_agree_with_torch_and_their_mean_is_the_value(prior_scale: float) -> None:
    config = BootstrappedDqnConfig(hidden=(8, 4), members=5, prior_scale=prior_scale)
    policy = config.build_policy(SPEC)
    actions, state = action_set(np.random.default_rng(0), 7), np.ones(3, np.float32)

    scorer = policy.scorer()
    scores = scorer.score(state, scorer.prepare(actions.features))

    given = torch.from_numpy(state).unsqueeze(0), ragged([actions])
    assert scores.members is not None
    expected = policy.members(policy.network, *given)
    np.testing.assert_allclose(scores.members, expected.numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(scores.value, scores.members.mean(axis=1))


def test_without_a_prior_nothing_is_kept_of_one() -> None:
    policy = BootstrappedDqnConfig(prior_scale=0).build_policy(SPEC)

    assert not [name for name in policy.state_dict() if "prior" in name]


def test_an_empty_next_set_is_worth_nothing_to_all() -> None:
    batch = one_step(next_actions=numbers())

    assert members_target(torch.zeros(0, 2), batch, 0.5).tolist() == [[1.0, 1.0]]
