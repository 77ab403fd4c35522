"""What pays rarely and much is worth its mean: nothing is learned from part of a reward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from agent_core.config import parse_agent_config
from agent_core.interfaces import Policy
from agent_core.training.agent_learner import AgentLearner
from agent_core.types import ActionSet, Doubles, Transition
from tests.support.learners import ragged
from tests.support.transitions import a_transition

pytestmark = pytest.mark.learning

_REWARD, _PERIOD = 100.0, 50
"""One action pays this much once in so many times, 2 on average. The other always pays 1."""
_ACTIONS = ActionSet(("rarely", "always"), np.eye(2, dtype=np.float32))
_STATE = np.ones(1, np.float32)


def _learned(learner: dict[str, Any]) -> AgentLearner:
    config = parse_agent_config(
        {
            "observation": {"kind": "vector", "dim": 1},
            "actions": {"kind": "vector", "dim": 2},
            "policy_learner": {"hidden": [16], "learning_rate": 3e-3} | learner,
            "exploration": {"kind": "none"},
            "replay": {"kind": "fifo", "capacity": 1_000},
            "schedule": {"batch_size": 64, "updates_per_transition": 0, "seed": 1},
        }
    )
    learned = AgentLearner(config.policy_learner, config.replay, config.schedule, config.spec)
    rarely = [_transition(number, 0, _REWARD * (number % _PERIOD == 0)) for number in range(500)]
    learned.learn([*rarely, *(_transition(500 + number, 1, 1.0) for number in range(500))])
    learned.extra_updates(2_000)
    return learned


def _transition(number: int, action: int, reward: float) -> Transition:
    return a_transition(
        decision_id=str(number), state=_STATE, actions=_ACTIONS, action=action, reward=reward
    )


def _values(learned: AgentLearner) -> Doubles:
    assert isinstance(learned.policy, Policy)
    values = learned.policy.values(torch.from_numpy(_STATE[None]), ragged([_ACTIONS]))
    return values.detach().double().numpy()


@pytest.mark.parametrize("kind", ["neural", "neural_linear", "dqn", "deep_sarsa", "epinet"])
def test_an_action_that_pays_rarely_is_worth_its_mean(kind: str) -> None:
    rarely, always = _values(_learned({"kind": kind}))

    assert rarely == pytest.approx(2.0, abs=0.5)
    assert always == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize("kind", ["discrete_sac", "discrete_iql"])
def test_an_actor_prefers_what_pays_more_on_average(kind: str) -> None:
    rarely, always = _values(_learned({"kind": kind}))

    assert rarely > always


def test_a_gradient_that_is_cut_hides_what_is_rare() -> None:
    rarely, _ = _values(_learned({"kind": "neural", "max_gradient_norm": 1.0}))

    assert rarely < 1.0
