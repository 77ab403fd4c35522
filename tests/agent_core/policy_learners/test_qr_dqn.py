"""QR-DQN: targets by hand, with and without a risk measure, and how it scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from agent_core.policy_learners.value_based.qr_dqn import (
    QrDqnConfig,
    qr_dqn_losses,
    quantile_target,
)
from agent_core.safety.risk import CvarConfig, MeanVarianceConfig
from agent_core.types import RiskMeasure
from tests.support.learners import SPEC, action_set, agent_learner, made_up, ragged
from tests.support.value_networks import adding_network, one_step

# Quantiles of an action with s + a = x: 3x and -x. Mean x, variance 4 x^2, worse half -x.
_QUANTILES = (3.0, -1.0)


def test_the_target_moves_all_quantiles_of_the_action_with_the_best_mean() -> None:
    # x is 3 or 5; 5 has the better mean: 1 + 0.5 * (15, -5).
    target = quantile_target(adding_network(*_QUANTILES), one_step(), 0.5, None)

    assert target.tolist() == [[8.5, -1.5]]


def test_the_target_takes_the_action_that_the_risk_measure_prefers() -> None:
    # The worse half of 3 is -3, of 5 it is -5: 1 + 0.5 * (9, -3).
    risk = CvarConfig(alpha=0.5).risk()

    target = quantile_target(adding_network(*_QUANTILES), one_step(), 0.5, risk)

    assert target.tolist() == [[5.5, -0.5]]


@pytest.mark.parametrize(
    "changes", [{"terminated": True}, {"next_actions": None}], ids=["terminated", "no actions"]
)
def test_where_nothing_follows_every_quantile_is_the_reward(changes: dict[str, object]) -> None:
    target = quantile_target(adding_network(*_QUANTILES), one_step(**changes), 0.5, None)

    assert target.tolist() == [[1.0, 1.0]]


def test_the_loss_is_quantile_regression_of_the_chosen_action() -> None:
    # x = 5: quantiles 15 at 0.25 and -5 at 0.75; both targets are 1.
    # At 15: u = -14, 0.75 * 13.5 = 10.125. At -5: u = 6, 0.75 * 5.5 = 4.125.
    network = adding_network(*_QUANTILES)

    losses = qr_dqn_losses(network, network, one_step(terminated=True), 0.5, None, kappa=1.0)

    assert losses.losses.tolist() == [14.25]
    assert losses.errors.tolist() == [4.0]  # mean 5 against 1


@pytest.mark.parametrize("risk", [None, MeanVarianceConfig(beta=2).risk(), CvarConfig().risk()])
def test_what_is_served_is_the_worth_of_the_quantiles_in_torch_and_numpy(
    risk: RiskMeasure | None,
) -> None:
    spec = replace(SPEC, risk=risk)
    learner = agent_learner(QrDqnConfig(hidden=(8,), quantiles=5), spec)
    learner.learn(made_up(60))
    policy = QrDqnConfig(hidden=(8,), quantiles=5).build_policy(spec)
    policy.load_state_dict(learner.policy.state_dict())
    actions, state = action_set(np.random.default_rng(0), 4), np.ones(3, np.float32)

    scorer = policy.scorer()
    got = scorer.score(state, scorer.prepare(actions.features)).value

    given = torch.from_numpy(state).unsqueeze(0), ragged([actions])
    np.testing.assert_allclose(got, policy.values(*given).numpy(), rtol=1e-4, atol=1e-4)
    mean = policy.network(*given).mean(1).numpy()
    assert np.allclose(got, mean, atol=1e-4) == (risk is None)
