"""The linear bandit, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from agent_core.policy_learners.bandits.linear import LinearConfig, LinearPolicy
from agent_core.training.agent_learner import AgentLearner
from agent_core.training.schedule import ScheduleConfig
from agent_core.types import ActionScores, ActionSet, ProblemSpec, Transition
from tests.support.transitions import a_transition


def _learner(state_dim: int = 0, action_dim: int = 1, **config: Any) -> AgentLearner:
    spec = ProblemSpec(state_dim, action_dim, 10)
    return AgentLearner(LinearConfig(**config), None, ScheduleConfig(), spec)


def _step(state: list[float], action: list[float], reward: float) -> Transition:
    actions = ActionSet(("a",), np.array([action], np.float32))
    return a_transition(state=np.array(state, np.float32), actions=actions, action=0, reward=reward)


def _score(learner: AgentLearner, state: list[float], *actions: list[float]) -> ActionScores:
    policy = learner.policy
    assert isinstance(policy, LinearPolicy)
    scorer = policy.scorer()
    return scorer.score(np.array(state, np.float32), scorer.prepare(np.array(actions, np.float32)))


def test_one_observation_counts_once_in_the_posterior() -> None:
    learner = _learner(interactions=False)

    learner.learn([_step([], [1.0], reward=3.0)])
    scores = _score(learner, [], [1.0], [0.0])

    # Features (1, a). Precision I + (1,1)(1,1)' = [[2, 1], [1, 2]], covariance [[2, -1], [-1, 2]] / 3,
    # moment (3, 3), so mean (1, 1): values 1 + 1 and 1 + 0.
    assert scores.spread is not None
    np.testing.assert_allclose(scores.value, [2.0, 1.0], rtol=1e-6)
    # Covariance between (1, 1) and (1, 0): [[2/3, 1/3], [1/3, 2/3]].
    np.testing.assert_allclose(scores.spread @ scores.spread.T, [[2 / 3, 1 / 3], [1 / 3, 2 / 3]])


def test_replayed_batches_do_not_count_again() -> None:
    learner = _learner()
    learner.learn([_step([], [1.0], reward=3.0)])
    before = _score(learner, [], [1.0]).value

    metrics = learner.extra_updates(100)

    assert metrics == {}
    np.testing.assert_array_equal(_score(learner, [], [1.0]).value, before)


@pytest.mark.parametrize("interactions", [True, False])
def test_before_any_data_every_action_is_worth_zero_and_uncertain(interactions: bool) -> None:
    learner = _learner(state_dim=2, action_dim=2, ridge=0.25, interactions=interactions)

    scores = _score(learner, [1.0, 2.0], [1.0, 0.0], [0.0, 3.0])

    # Variance = |x|^2 / ridge. Additive: x = (1, 1, 2, a). Interactions: |(1, 1, 2)|^2 * |(1, a)|^2.
    expected = [6 * 2, 6 * 10] if interactions else [6 + 1, 6 + 9]
    assert scores.spread is not None
    np.testing.assert_allclose(scores.value, 0.0)
    np.testing.assert_allclose((scores.spread**2).sum(1), np.array(expected) / 0.25, rtol=1e-5)


@pytest.mark.parametrize(("interactions", "best"), [(True, [0, 1]), (False, [0, 0])])
def test_only_interactions_let_the_best_action_depend_on_the_state(
    interactions: bool, best: list[int]
) -> None:
    learner = _learner(state_dim=1, action_dim=2, interactions=interactions)
    arms = [[1.0, 0.0], [0.0, 1.0]]

    # The first arm pays 2 in state +1 and -1 in state -1, the second the other way round but one less.
    for _ in range(200):
        for state in (1.0, -1.0):
            learner.learn([_step([state], arms[0], reward=0.5 + 1.5 * state)])
            learner.learn([_step([state], arms[1], reward=-0.5 - 1.5 * state)])

    assert [int(_score(learner, [s], *arms).value.argmax()) for s in (1.0, -1.0)] == best


def test_forgetting_follows_a_reward_that_changed() -> None:
    forgetful, faithful = _learner(forgetting=0.9), _learner()
    steps = [_step([], [1.0], 0.0)] * 200 + [_step([], [1.0], 1.0)] * 50

    for learner in (forgetful, faithful):
        learner.learn(steps)

    # 0.9^50 = 0.5 % of the old evidence is left, against 80 % of all observations.
    assert _score(forgetful, [], [1.0]).value[0] > 0.95
    assert _score(faithful, [], [1.0]).value[0] < 0.25


def test_the_served_tensors_are_double_precision() -> None:
    dtypes = {v.dtype for v in _learner().policy.state_dict().values()}

    assert dtypes == {torch.float64}
