"""Deep Q-learning with an epinet: one opinion for each index, consistent with itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from agent_core.networks.epinet import EpistemicNetwork
from agent_core.policy_learners.value_based.epinet import (
    EpinetConfig,
    EpinetPolicy,
    drawn_indices,
    epinet_losses,
    losses_at,
    reward_noise,
)
from agent_core.training.collate import collate
from agent_core.types import ActionScores, ActionSet, Doubles, ProblemSpec, Transition
from tests.support.learners import SPEC, action_set, agent_learner, made_up, ragged
from tests.support.transitions import a_transition
from tests.support.value_networks import NUMBERS, adding_network, numbers, one_step

_CPU = torch.device("cpu")


def _by_hand() -> EpistemicNetwork:
    """x + u * relu(x + u), where x = relu(s + a) and u is the sum of an index of two numbers."""
    network = EpistemicNetwork(NUMBERS, (1,), index_dim=2, units=1)
    for name, parameter in network.named_parameters():
        torch.nn.init.constant_(parameter, float("bias" not in name))
    return network


def _policy_by_hand() -> EpinetPolicy:
    """The prior is 2 x (z1 - z2)."""
    config = EpinetConfig(hidden=(1,), index_dim=2, epinet_units=1, prior_scale=2.0)
    policy = config.build_policy(NUMBERS)
    policy.network, policy.prior = _by_hand(), adding_network(1.0, -1.0)
    return policy.requires_grad_(False)


def test_an_opinion_is_the_base_and_what_the_epinet_says_along_its_index() -> None:
    # x = 1 + 4 = 5. u = 2: 5 + 2 * 7. u = -1: 5 - 1 * 4. u = -6: 5 - 6 * 0.
    index = torch.tensor([[1.0, 1.0], [0.0, -1.0], [-4.0, -2.0]])
    state, action = torch.tensor([[1.0]]), torch.tensor([[4.0]])

    for_all = _by_hand()(state, ragged([numbers(4.0)]), index)
    of_pairs = _by_hand().pairs(state, action, index.unsqueeze(0))

    assert for_all.tolist() == of_pairs.tolist() == [[19.0, 1.0, 5.0]]


def test_the_epinet_moves_no_feature_of_the_base() -> None:
    network = EpistemicNetwork(SPEC, (8,), index_dim=3, units=4)
    torch.nn.init.zeros_(network.base.out.weight)
    batch = collate(made_up(4), SPEC, _CPU)
    features = list(network.base.features.parameters())

    opinions = network.pairs(batch.state, batch.chosen_features(), torch.randn(4, 5, 3))

    to_features = torch.autograd.grad(opinions.sum(), features, retain_graph=True)
    (to_epinet,) = torch.autograd.grad(opinions.sum(), [network.features_in.weight])
    assert all(not gradient.any() for gradient in to_features)
    assert to_epinet.any()


def test_each_opinion_aims_at_its_own_target_with_the_prior_on_both_sides() -> None:
    # Chosen, x = 5; next, x = 3 or 5. The discount is 0.5.
    # z = (1, 1): x + 2 (x + 2) = 3 x + 4: 19 against 1 + 0.5 * 19 = 10.5, an error of 8.5.
    # z = (0, 2): x + 2 (x + 2) - 4 x = 4 - x: -1 against 1 + 0.5 * 1 = 1.5, an error of 2.5.
    index, policy = torch.tensor([[[1.0, 1.0], [0.0, 2.0]]]), _policy_by_hand()

    found = losses_at(index, policy.network, policy.network, one_step(), policy, 0.5, 0.0)

    assert found.losses.tolist() == [(8.0 + 2.0) / 2]
    assert found.errors.tolist() == [5.5]
    assert found.targets.tolist() == [6.0]


def test_without_a_bend_large_errors_are_squared_too() -> None:
    # The errors of 8.5 and 2.5 from above: halves of 72.25 and 6.25.
    index, policy = torch.tensor([[[1.0, 1.0], [0.0, 2.0]]]), _policy_by_hand()

    found = losses_at(
        index, policy.network, policy.network, one_step(), policy, 0.5, 0.0, bend=None
    )

    assert found.losses.tolist() == [(36.125 + 3.125) / 2]


@pytest.mark.parametrize(
    "changes", [{"terminated": True}, {"next_actions": numbers()}], ids=["end", "empty next set"]
)
def test_where_nothing_follows_all_aim_at_the_reward(changes: dict[str, object]) -> None:
    index, policy = torch.randn(1, 3, 2), _policy_by_hand()

    found = losses_at(index, policy.network, policy.network, one_step(**changes), policy, 0.5, 0.0)

    assert found.targets.tolist() == [1.0]


def test_truncation_does_not_end_the_future() -> None:
    index, policy = torch.tensor([[[1.0, 1.0]]]), _policy_by_hand()
    step = one_step(truncated=True)

    found = losses_at(index, policy.network, policy.network, step, policy, 0.5, 0.0)

    assert found.targets.tolist() == [10.5]


def test_targets_are_off_by_the_noise_of_their_transition() -> None:
    index, policy, batch = torch.randn(1, 3, 2), _policy_by_hand(), one_step(terminated=True)

    found = losses_at(index, policy.network, policy.network, batch, policy, 0.5, 2.0)

    noise = reward_noise(batch.key, index).mean(1)
    torch.testing.assert_close(found.targets, 1.0 + 2.0 * noise)


def test_noise_is_one_direction_of_length_one_for_each_transition_for_ever() -> None:
    keys = collate(made_up(1000), SPEC, _CPU).key
    axes = torch.eye(4).expand(1000, 4, 4)

    directions = reward_noise(keys, axes)

    torch.testing.assert_close(directions.norm(dim=1), torch.ones(1000))
    assert torch.equal(reward_noise(keys[7:9], axes[7:9]), directions[7:9])
    # A coordinate of a uniform direction has a variance of 1/4: a standard error of 0.016.
    np.testing.assert_allclose(directions.mean(0), 0.0, atol=0.07)


def test_indices_are_drawn_anew_for_each_row_and_each_batch() -> None:
    keys = collate(made_up(6), SPEC, _CPU).key

    index = drawn_indices(keys, 5, 3)

    assert index.shape == (6, 5, 3)
    assert len(index.unique()) == 90
    assert torch.equal(index, drawn_indices(keys, 5, 3))
    assert not (drawn_indices(keys[:5], 5, 3) == index[:5]).any()


def test_sets_of_different_sizes_keep_apart() -> None:
    policy = EpinetConfig(hidden=(8,), index_dim=3).build_policy(SPEC)
    together = collate(made_up(12), SPEC, _CPU)
    index = drawn_indices(together.key, 4, 3)

    targets = losses_at(index, policy.network, policy.network, together, policy, 0.9, 0.5).targets

    for row, transition in enumerate(made_up(12)):
        alone = collate([transition], SPEC, _CPU)
        at = index[row : row + 1]
        one = losses_at(at, policy.network, policy.network, alone, policy, 0.9, 0.5).targets
        torch.testing.assert_close(one[0], targets[row])


def test_the_loss_of_an_update_is_at_the_drawn_indices() -> None:
    policy = EpinetConfig(hidden=(8,), index_dim=3).build_policy(SPEC)
    batch, network = collate(made_up(6), SPEC, _CPU), policy.network

    drawn = epinet_losses(network, network, batch, policy, 0.9, 4, 0.0)

    given = losses_at(drawn_indices(batch.key, 4, 3), network, network, batch, policy, 0.9, 0.0)
    assert torch.equal(drawn.losses, given.losses)


def test_the_prior_and_the_acting_indices_never_move_and_are_served() -> None:
    learner = agent_learner(EpinetConfig(hidden=(8,), members=3))
    fixed = ("prior", "indices")
    before = {k: v.clone() for k, v in learner.policy.state_dict().items() if k.startswith(fixed)}

    learner.learn(made_up(60))

    after = learner.policy.state_dict()
    assert {name.split(".")[0] for name in before} == set(fixed)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_numpy_members_agree_with_torch_and_their_mean_is_the_value() -> None:
    config = EpinetConfig(hidden=(8, 4), members=5, index_dim=3, epinet_units=6, prior_scale=3.0)
    policy = config.build_policy(SPEC)
    actions, state = action_set(np.random.default_rng(0), 7), np.ones(3, np.float32)

    scorer = policy.scorer()
    scores = scorer.score(state, scorer.prepare(actions.features))

    given = torch.from_numpy(state).unsqueeze(0), ragged([actions])
    expected = policy.members(policy.network, *given, policy.indices)
    np.testing.assert_allclose(_members(scores), expected.numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(scores.value, _members(scores).mean(axis=1))


# -- what opinions are of -------------------------------------------------------------------------

_STATE = np.ones(1, np.float32)
_ARMS = ActionSet(("seen", "new"), np.eye(2, dtype=np.float32))
_ARMS_SPEC = ProblemSpec(state_dim=1, action_dim=2, max_actions=2)
_SMALL: dict[str, Any] = {"hidden": (32,), "learning_rate": 5e-3, "target_mix": 0.2, "members": 10}
_NOISY = EpinetConfig(**_SMALL, index_dim=4, noise_scale=1.0)


def _seen(number: int) -> Transition:
    return a_transition(decision_id=str(number), state=_STATE, actions=_ARMS, action=0, reward=0.5)


def _opinions(config: EpinetConfig, transitions: int) -> tuple[EpinetPolicy, Doubles]:
    """`[2, K]` of the action that was seen and of the other one, after 800 updates."""
    learner = agent_learner(config, _ARMS_SPEC)
    learner.learn([_seen(number) for number in range(transitions)])
    learner.extra_updates(800)
    assert isinstance(learner.policy, EpinetPolicy)
    scorer = learner.policy.scorer()
    return learner.policy, _members(scorer.score(_STATE, scorer.prepare(_ARMS.features)))


def test_members_agree_where_there_is_data_and_differ_where_there_is_none() -> None:
    _, (seen, new) = _opinions(EpinetConfig(**_SMALL), 20)

    np.testing.assert_allclose(seen, 0.5, atol=0.05)
    assert new.std() > 5 * seen.std()
    assert new.std() > 0.2


def test_one_noisy_reward_is_believed_by_each_member_with_its_own_noise() -> None:
    policy, (seen, _) = _opinions(_NOISY, 1)

    key = collate([_seen(0)], _ARMS_SPEC, _CPU).key
    noise = reward_noise(key, policy.indices.unsqueeze(0))[0]
    assert float(noise.std()) > 0.5
    np.testing.assert_allclose(seen, 0.5 + noise.numpy(), atol=0.3)


def test_many_noisy_rewards_leave_little_doubt() -> None:
    # To an index the mean of 60 noises has a standard deviation of 1 / sqrt(60) = 0.13; one has 1.
    _, (seen, _) = _opinions(_NOISY, 60)

    assert seen.std() < 0.3
    assert seen.mean() == pytest.approx(0.5, abs=0.2)


def _members(scores: ActionScores) -> Doubles:
    assert scores.members is not None
    return scores.members


@pytest.mark.parametrize("bad", [{"index_dim": 1}, {"members": 1}, {"prior_scale": 0}])
def test_what_would_leave_no_opinions_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(bad))):
        EpinetConfig.model_validate(bad)
