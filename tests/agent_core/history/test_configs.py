"""Histories as a part of an agent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agent_core.agent import Agent
from agent_core.config import parse_agent_config
from agent_core.errors import ConfigError
from agent_core.interfaces import Policy
from agent_core.training.agent_learner import AgentLearner
from agent_core.types import ActionSet
from tests.support.learners import made_up


def _document(learner: str, history: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "observation": {"kind": "vector", "dim": 2},
        "policy_learner": {"kind": learner},
        "exploration": {"kind": "epsilon_greedy"},
        "actions": {"kind": "vector", "dim": 3},
        "history": history,
    }
    return document | ({} if learner == "linear" else {"replay": {"kind": "fifo", "capacity": 100}})


def test_the_state_of_a_policy_is_the_window_and_its_networks_see_the_summary() -> None:
    spec = parse_agent_config(_document("dqn", {"kind": "gru", "window": 4, "hidden_dim": 7})).spec

    # Four rows of a flag, two numbers observed and an action of three.
    assert spec.state_dim == 4 * 6
    assert spec.summary is not None
    assert spec.summary.dim == 7


def test_stacking_works_with_a_learner_that_has_no_gradient() -> None:
    config = parse_agent_config(_document("linear", {"kind": "stacking", "window": 2}))

    assert config.spec.state_dim == 2 * 6
    assert config.spec.summary is None


@pytest.mark.parametrize("kind", ["lstm", "gru", "transformer"])
def test_a_learned_summary_needs_a_learner_that_can_train_it(kind: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_agent_config(_document("linear", {"kind": kind}))

    assert [problem.path for problem in caught.value.problems] == ["history"]


@pytest.mark.parametrize("kind", ["stacking", "lstm", "gru", "transformer"])
def test_an_agent_decides_by_what_it_saw_before(kind: str) -> None:
    config = parse_agent_config(_document("dqn", {"kind": kind}))
    learner = AgentLearner(config.policy_learner, config.replay, config.schedule, config.spec)
    learner.learn(made_up(80, spec=config.spec))
    assert isinstance(learner.policy, Policy)
    agent = Agent(config, learner.policy, experience=learner.experience)
    history, now = config.history_module(), np.ones(2, np.float32)
    actions = ActionSet(("a", "b", "c"), np.eye(3, dtype=np.float32))
    values = []

    for seen in (-1.0, 1.0):
        before = np.full(2, seen, np.float32)
        carry = history.advance(history.initial_carry(), before, actions.features[0])
        state = history.state(carry, now)
        values.append(agent.act(state, actions, agent.prepare(actions), seed=1).value)

    assert not np.allclose(values[0], values[1])
