"""The neural linear bandit: when its features move, and what its posterior counts."""

from __future__ import annotations

import numpy as np
import torch

from agent_core.policy_learners.bandits.neural_linear import (
    NeuralLinearConfig,
    NeuralLinearLearner,
    NeuralLinearPolicy,
)
from agent_core.training.collate import collate
from agent_core.types import TransitionBatch
from tests.support.learners import SPEC, made_up
from tests.support.transitions import a_transition
from tests.support.value_networks import NUMBERS, adding_network, numbers


def _learner(**config: float) -> tuple[NeuralLinearPolicy, NeuralLinearLearner]:
    settings = NeuralLinearConfig(hidden=(8,), **config)
    torch.manual_seed(0)
    policy = settings.build_policy(SPEC)
    return policy, NeuralLinearLearner(policy, settings, SPEC)


def _batch(count: int, seed: int = 0) -> TransitionBatch:
    return collate(made_up(count, seed), SPEC, torch.device("cpu"))


def _expected_posterior(
    policy: NeuralLinearPolicy, batch: TransitionBatch, ridge: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The normal equations over the chosen actions under the features that are served."""
    features = policy.chosen_features(batch)
    identity = torch.eye(features.shape[1], dtype=torch.float64)
    covariance = torch.linalg.inv(ridge * identity + features.T @ features)
    return covariance @ features.T @ batch.reward.double(), covariance


def _assert_posterior(policy: NeuralLinearPolicy, batch: TransitionBatch, ridge: float) -> None:
    mean, covariance = _expected_posterior(policy, batch, ridge)
    torch.testing.assert_close(policy.mean, mean, atol=1e-9, rtol=1e-7)
    torch.testing.assert_close(policy.factor @ policy.factor.T, covariance, atol=1e-9, rtol=1e-7)


def test_the_posterior_of_one_observation_by_hand() -> None:
    # The only unit is h = relu(s + a), so features are (h, 1): (2, 1) in state 0 with action 2, paid 10.
    # Precision I + (2, 1)(2, 1)' = [[5, 2], [2, 2]], covariance [[2, -2], [-2, 5]] / 6, moment (20, 10):
    # the mean is (40 - 20, -40 + 50) / 6 = (10/3, 5/3).
    policy = NeuralLinearConfig(hidden=(1,)).build_policy(NUMBERS)
    policy.body = adding_network().features
    learner = NeuralLinearLearner(policy, NeuralLinearConfig(hidden=(1,)), NUMBERS)
    state, actions = np.zeros(1, np.float32), numbers(2.0, 0.0)
    seen = a_transition(state=state, actions=actions, action=0, reward=10.0)

    learner.observe(collate([seen], NUMBERS, torch.device("cpu")))

    scorer = policy.scorer()
    scores = scorer.score(state, scorer.prepare(actions.features))
    # Values 20/3 + 5/3 and 5/3; covariances x C y' of (2, 1) and (0, 1).
    assert scores.spread is not None
    np.testing.assert_allclose(scores.value, [25 / 3, 5 / 3], rtol=1e-6)
    np.testing.assert_allclose(
        scores.spread @ scores.spread.T, [[5 / 6, 1 / 6], [1 / 6, 5 / 6]], rtol=1e-5
    )


def test_between_refreshes_the_posterior_is_that_of_the_features_served() -> None:
    policy, learner = _learner(ridge=2.0)
    seen = _batch(20)

    learner.observe(seen)
    for seed in range(5):
        learner.update(_batch(16, seed))

    _assert_posterior(policy, seen, ridge=2.0)


def test_a_refresh_serves_the_trained_features_and_rebuilds_the_posterior_under_them() -> None:
    policy, learner = _learner(ridge=2.0)
    first, second = _batch(20), _batch(13, seed=1)
    old = policy.body.action_in.weight.clone()
    learner.observe(first)
    for seed in range(5):
        learner.update(_batch(16, seed))

    learner.refresh(iter([first, second]))

    assert not torch.equal(policy.body.action_in.weight, old)
    _assert_posterior(policy, collate(made_up(20) + made_up(13, 1), SPEC, old.device), ridge=2.0)


def test_an_observation_after_a_refresh_counts_on_top_of_it() -> None:
    policy, learner = _learner(ridge=2.0)
    learner.update(_batch(16))
    learner.refresh([_batch(20)])

    learner.observe(_batch(1, seed=1))

    _assert_posterior(
        policy, collate(made_up(20) + made_up(1, 1), SPEC, torch.device("cpu")), ridge=2.0
    )


def test_a_refresh_of_nothing_is_the_prior() -> None:
    policy, learner = _learner(ridge=4.0)

    learner.refresh([])

    np.testing.assert_allclose(policy.factor.numpy(), np.eye(9) / 2)
    assert not policy.mean.any()


def test_updates_make_the_squared_error_smaller() -> None:
    _, learner = _learner(learning_rate=0.01)
    batch = _batch(64)

    losses = [learner.update(batch).metrics["loss"] for _ in range(100)]

    assert losses[-1] < 0.7 * losses[0]
