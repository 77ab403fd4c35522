"""Decisions in a box."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from agent_core.box_agent import BoxAgent
from agent_core.config import AgentConfig, parse_agent_config
from agent_core.errors import ConfigError, NonFiniteScoresError
from agent_core.interfaces import BoxPolicy

_STATE = np.array([0.5, -1.0], np.float32)


def _config(learner: str = "sac", exploration: str = "policy_sample") -> AgentConfig:
    return parse_agent_config(
        {
            "observation": {"kind": "vector", "dim": 2},
            "actions": {"kind": "box", "low": [-2, 0], "high": [2, 1]},
            "policy_learner": {"kind": learner, "hidden": [8]},
            "exploration": {"kind": exploration},
            "replay": {"kind": "fifo"},
        }
    )


def _policy(config: AgentConfig) -> BoxPolicy:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        policy = config.policy_learner.build_policy(config.spec)
    assert isinstance(policy, BoxPolicy)
    return policy


def _agent(**parts: str) -> BoxAgent:
    config = _config(**parts)
    return BoxAgent(config, _policy(config), experience=0)


_COMBINATIONS: list[Any] = [
    {"learner": "sac", "exploration": "policy_sample"},
    {"learner": "td3", "exploration": "gaussian"},
    {"learner": "sac", "exploration": "gaussian"},
]


@pytest.mark.parametrize("parts", _COMBINATIONS)
def test_the_same_seed_gives_the_same_decision_and_another_another(parts: dict[str, str]) -> None:
    agent = _agent(**parts)

    first, again, other = (agent.act(_STATE, seed=seed) for seed in (1, 1, 2))

    assert first.action.tobytes() == again.action.tobytes()
    assert first.density == again.density
    assert first.action.tobytes() != other.action.tobytes()
    assert 0 < first.density < math.inf


@pytest.mark.parametrize("parts", _COMBINATIONS)
def test_without_exploring_the_mean_is_played_whatever_the_seed(parts: dict[str, str]) -> None:
    agent = _agent(**parts)

    decisions = [agent.act(_STATE, seed=seed, explore=False) for seed in range(5)]

    assert len({d.action.tobytes() for d in decisions}) == 1
    assert decisions[0].action.tobytes() == decisions[0].mean.tobytes()
    assert decisions[0].density == math.inf


@pytest.mark.parametrize("parts", _COMBINATIONS)
@pytest.mark.parametrize("explore", [True, False])
def test_a_policy_that_is_not_finite_decides_nothing(parts: dict[str, str], explore: bool) -> None:
    config = _config(**parts)
    policy = _policy(config)
    for parameter in policy.parameters():
        torch.nn.init.constant_(parameter, math.nan)
    agent = BoxAgent(config, policy, experience=0)

    with pytest.raises(NonFiniteScoresError):
        agent.act(_STATE, seed=0, explore=explore)


def test_a_policy_without_a_distribution_cannot_be_sampled() -> None:
    with pytest.raises(ConfigError, match="needs 'actor'"):
        _config(learner="td3", exploration="policy_sample")


def test_explorations_of_sets_are_refused() -> None:
    with pytest.raises(ConfigError, match="explores no continuous actions"):
        _config(exploration="epsilon_greedy")
