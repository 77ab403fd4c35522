"""DQN: its loss by hand, and dueling networks over sets of any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agent_core.networks.dueling import DuelingNetwork
from agent_core.policy_learners.value_based.dqn import DqnConfig, dqn_losses
from agent_core.training.collate import collate
from agent_core.types import Floats
from tests.support.learners import SPEC, action_set, agent_learner, made_up, ragged
from tests.support.value_networks import NUMBERS, adding_network, one_step


def test_the_loss_is_on_the_chosen_action() -> None:
    # Q(1, 4) = 5 against 1 + 0.5 * (2 + 3): an error of 1.5, in the linear part: 1.5 - 1 / 2.
    network = adding_network()

    losses = dqn_losses(network, network, one_step(), discount=0.5, double=False)

    assert losses.losses.tolist() == [1.0]
    assert losses.errors.tolist() == [1.5]


def test_double_lets_the_trained_network_choose() -> None:
    # It likes 2 + 1 best, being the negative; target 1 + 0.5 * 3, its own value of the choice is -5.
    trained, target = adding_network(-1.0), adding_network()

    losses = dqn_losses(trained, target, one_step(), discount=0.5, double=True)

    assert losses.targets.tolist() == [2.5]
    assert losses.errors.tolist() == [7.5]


def _dueling_by_hand() -> DuelingNetwork:
    """V(s) = 10 relu(s) and A(s, a) = relu(s + a)."""
    network = DuelingNetwork(NUMBERS, (1,)).requires_grad_(False)
    network.advantage = adding_network()
    for name, parameter in network.state_value.named_parameters():
        torch.nn.init.constant_(parameter, float("bias" not in name))
    network.state_value.out.weight.fill_(10.0)
    return network


def test_dueling_takes_the_mean_advantage_of_the_available_actions_from_each() -> None:
    # V = 10; advantages 1, 5 and 10 with a mean of 16 / 3.
    batch = one_step()

    values = _dueling_by_hand()(batch.state, batch.actions)

    torch.testing.assert_close(values, 10 + torch.tensor([1.0, 5.0, 10.0]) - 16 / 3)


def test_the_dueling_loss_is_on_the_chosen_of_the_available_actions() -> None:
    # Q(1, 4) = 10 + 5 - 16 / 3 = 9.667; the next values are 20 -+ 1, so the target is 1 + 0.5 * 21.
    network = _dueling_by_hand()

    losses = dqn_losses(network, network, one_step(), discount=0.5, double=False)

    assert losses.targets.tolist() == [11.5]
    assert losses.errors.tolist() == pytest.approx([11.5 - 29 / 3], abs=1e-5)


def test_dueling_values_do_not_depend_on_how_large_the_other_sets_of_a_batch_are() -> None:
    policy = DqnConfig(dueling=True).build_policy(SPEC)
    generator = np.random.default_rng(0)
    two, many = action_set(generator, 2), action_set(generator, 300)
    states = torch.from_numpy(generator.standard_normal((2, SPEC.state_dim)).astype("f4"))

    together = policy.values(states, ragged([two, many]))

    torch.testing.assert_close(together[:2], policy.values(states[:1], ragged([two])))


@pytest.mark.parametrize("size", [1, 2, 50])
def test_the_numpy_form_of_a_trained_dueling_network_agrees_with_torch(size: int) -> None:
    learner = agent_learner(DqnConfig(dueling=True, double=True, hidden=(16, 8)))
    learner.learn(made_up(60))
    policy = DqnConfig(dueling=True, hidden=(16, 8)).build_policy(SPEC)
    policy.load_state_dict(learner.policy.state_dict())
    actions, state = action_set(np.random.default_rng(1), size), _state()

    scorer = policy.scorer()
    got = scorer.score(state, scorer.prepare(actions.features)).value

    expected = policy.values(torch.from_numpy(state).unsqueeze(0), ragged([actions]))
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-4, atol=1e-4)


def test_dueling_differences_between_actions_do_not_depend_on_what_else_is_scored() -> None:
    # Probabilities depend on differences alone, so an exclusion moves them as for any other policy.
    scorer = DqnConfig(dueling=True).build_policy(SPEC).scorer()
    actions, state = action_set(np.random.default_rng(2), 5), _state()
    prepared = scorer.prepare(actions.features)

    whole = scorer.value(state, prepared)
    part = scorer.value(state, prepared[:2])

    assert part[1] - part[0] == pytest.approx(whole[1] - whole[0], abs=1e-6)


@pytest.mark.parametrize("options", [{"dueling": True}, {"double": True}])
def test_each_option_changes_what_is_learned(options: dict[str, bool]) -> None:
    batch = collate(made_up(64), SPEC, torch.device("cpu"))
    losses = []
    for config in (DqnConfig(hidden=(8,)), DqnConfig(hidden=(8,), **options)):
        torch.manual_seed(0)
        learner = config.build_learner(config.build_policy(SPEC), SPEC)
        learner.update(batch)
        losses.append(learner.update(batch).metrics["loss"])

    assert losses[0] != losses[1]


def _state() -> Floats:
    return np.random.default_rng(3).standard_normal(SPEC.state_dim).astype("f4")
