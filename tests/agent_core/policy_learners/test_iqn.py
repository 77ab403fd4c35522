"""Implicit quantile networks: one function of the probability, however it is asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from agent_core.functional.quantiles import midpoints
from agent_core.policy_learners.value_based.iqn import (
    ImplicitQuantileNetwork,
    IqnConfig,
    drawn_taus,
    implicit_target,
    iqn_losses,
)
from agent_core.safety.risk import CvarConfig
from agent_core.training.collate import collate
from agent_core.types import RiskMeasure
from tests.support.learners import SPEC, action_set, made_up, ragged
from tests.support.value_networks import NUMBERS, adding_network, one_step

_CPU = torch.device("cpu")


def _by_hand() -> ImplicitQuantileNetwork:
    """The quantile at tau is (s + a) * relu(1 + cos(pi tau)): 1.5, 1 and 0.5 times at 1/3, 1/2, 2/3."""
    network = ImplicitQuantileNetwork(NUMBERS, (1,)).requires_grad_(False)
    network.features = adding_network().features
    network.embed.weight.zero_()
    network.embed.weight[0, 1] = 1.0
    network.embed.bias.fill_(1.0)
    network.out.weight.fill_(1.0)
    network.out.bias.zero_()
    return network


def test_the_target_asks_for_quantiles_of_the_best_next_action() -> None:
    # x = 2 + 3 is better than 2 + 1 at every probability: 1 + 0.5 * 5 * (1.5, 1, 0.5).
    taus = torch.tensor([[1 / 3, 1 / 2, 2 / 3]])

    target = implicit_target(_by_hand(), one_step(), taus, 0.5, None, grid=4)

    torch.testing.assert_close(target, torch.tensor([[4.75, 3.5, 2.25]]))


def test_the_target_takes_the_action_that_the_risk_measure_prefers() -> None:
    # With the sign changed, x at its highest counts: -1.5 x is worse for 5 than for 3.
    network, taus = _by_hand(), torch.tensor([[1 / 2]])
    network.out.weight.fill_(-1.0)

    target = implicit_target(network, one_step(), taus, 0.5, CvarConfig().risk(), grid=4)

    torch.testing.assert_close(target, torch.tensor([[1 - 0.5 * 3]]))


@pytest.mark.parametrize(
    "changes", [{"terminated": True}, {"next_actions": None}], ids=["terminated", "no actions"]
)
def test_where_nothing_follows_every_quantile_is_the_reward(changes: dict[str, object]) -> None:
    network = _by_hand()
    network.out.bias.fill_(7.0)
    taus = torch.tensor([[0.2, 0.8]])

    target = implicit_target(network, one_step(**changes), taus, 0.5, None, grid=4)

    assert target.tolist() == [[1.0, 1.0]]


def test_the_grid_and_single_questions_give_the_same_quantiles() -> None:
    torch.manual_seed(0)
    network = ImplicitQuantileNetwork(SPEC, (8, 8))
    state, actions = torch.randn(1, 3), ragged([action_set(np.random.default_rng(0), 4)])

    on_grid = network.grid(state, actions, midpoints(5))

    features = network.features(state, actions)
    torch.testing.assert_close(on_grid, network.pairs(features, midpoints(5).expand(4, 5)))


def test_probabilities_are_drawn_anew_for_each_batch_and_apart_for_the_target() -> None:
    batch, other = (collate(made_up(6)[n:], SPEC, _CPU) for n in (0, 1))

    ours, theirs = drawn_taus(batch, 3)

    assert torch.equal(ours, drawn_taus(batch, 3)[0])
    assert not torch.equal(ours[1:], drawn_taus(other, 3)[0])
    assert not torch.equal(ours, theirs)
    assert ours.unique().numel() == 18


def test_a_row_that_was_drawn_twice_is_asked_twice() -> None:
    batch = collate([made_up(1)[0]] * 2, SPEC, _CPU)

    ours, _ = drawn_taus(batch, 3)

    assert not torch.equal(ours[0], ours[1])


def test_the_loss_is_zero_where_every_quantile_is_right() -> None:
    # Nothing follows, and every quantile of the network is the reward.
    network = _by_hand()
    network.out.weight.zero_()
    network.out.bias.fill_(1.0)

    losses = iqn_losses(
        network, network, one_step(terminated=True), 0.5, None, samples=4, grid=4, kappa=1.0
    )

    assert losses.losses.tolist() == [0.0]
    assert losses.errors.tolist() == [0.0]


@pytest.mark.parametrize("risk", [None, CvarConfig().risk()])
def test_the_numpy_form_agrees_with_torch_under_any_risk(risk: RiskMeasure | None) -> None:
    policy = IqnConfig(hidden=(8, 8), quantiles=5).build_policy(replace(SPEC, risk=risk))
    actions, state = action_set(np.random.default_rng(0), 4), np.ones(3, np.float32)

    scorer = policy.scorer()
    got = scorer.score(state, scorer.prepare(actions.features)).value

    expected = policy.values(torch.from_numpy(state).unsqueeze(0), ragged([actions]))
    np.testing.assert_allclose(got, expected.detach().numpy(), rtol=1e-4, atol=1e-4)
