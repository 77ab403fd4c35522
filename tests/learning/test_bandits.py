"""Composed bandits learn from the one reward that each decision gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from agent_core.agent import Agent, seed_of
from agent_core.config import AgentConfig, parse_agent_config
from agent_core.interfaces import Policy
from agent_core.training.agent_learner import AgentLearner
from agent_core.types import ActionSet, Floats
from tests.support.transitions import a_transition

pytestmark = pytest.mark.learning

_Ask = Callable[[np.random.Generator], tuple[Floats, ActionSet, list[float]]]
"""Draws a state, the available actions, and the reward that each would get."""


def _share_of_best(config: AgentConfig, ask: _Ask, decisions: int, counted: int) -> float:
    """Reward of the last `counted` of `decisions`, as a share of the best possible."""
    learner = AgentLearner(config.policy_learner, config.replay, config.schedule, config.spec)
    assert isinstance(learner.policy, Policy)
    generator = np.random.Generator(np.random.PCG64(0))
    got = best = 0.0
    agent = Agent(config, learner.policy, experience=0)
    for number in range(decisions):
        state, actions, rewards = ask(generator)
        decision = agent.act(state, actions, agent.prepare(actions), seed=seed_of(str(number), "t"))
        reward = rewards[decision.index]
        learner.learn(
            [a_transition(state=state, actions=actions, action=decision.index, reward=reward)]
        )
        if number % 50 == 49:  # a new version now and then, as a server would get it
            agent = Agent(config, learner.policy, experience=learner.experience)
        if number >= decisions - counted:
            got, best = got + reward, best + max(rewards)
    return got / best


def _config(**agent: Any) -> AgentConfig:
    return parse_agent_config({"action_representation": {"kind": "identity"}} | agent)


@pytest.mark.parametrize(
    "exploration",
    [
        {"kind": "thompson", "scale": 0.3},
        {"kind": "square_cb", "scale": 10},
        {"kind": "ucb", "alpha": 0.5},
        {"kind": "epsilon_greedy", "epsilon": 0.05},
    ],
    ids=lambda e: e["kind"],
)
def test_the_linear_bandit_finds_the_action_that_points_where_the_state_does(
    exploration: dict[str, Any],
) -> None:
    vector = {"kind": "vector", "dim": 3}
    linear = {"kind": "linear"}
    config = _config(
        observation=vector, actions=vector, policy_learner=linear, exploration=exploration
    )

    def ask(generator: np.random.Generator) -> tuple[Floats, ActionSet, list[float]]:
        state = generator.standard_normal(3).astype(np.float32)
        features = generator.uniform(-1, 1, (5, 3)).astype(np.float32)
        actions = ActionSet(tuple("abcde"), features)
        return state, actions, (features @ state + generator.normal(0, 0.1, 5)).tolist()

    assert _share_of_best(config, ask, decisions=600, counted=300) > 0.85


def test_the_neural_linear_bandit_reads_digits() -> None:
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    config = _config(
        observation={"kind": "vector", "dim": 64},
        actions={"kind": "vector", "dim": 10},
        policy_learner={"kind": "neural_linear"},
        exploration={"kind": "thompson", "scale": 0.3},
        replay={"kind": "fifo", "capacity": 10_000},
        schedule={"updates_per_transition": 0.5},
    )

    def ask(generator: np.random.Generator) -> tuple[Floats, ActionSet, list[float]]:
        image = generator.integers(len(labels))
        others = generator.permutation([c for c in range(10) if c != labels[image]])
        offered = [labels[image], *others[: generator.integers(1, 10)]]
        features = np.eye(10, dtype=np.float32)[offered]
        actions = ActionSet(tuple(map(str, offered)), features)
        return images[image], actions, [float(c == labels[image]) for c in offered]

    assert _share_of_best(config, ask, decisions=2500, counted=500) > 0.9


@pytest.mark.parametrize(
    ("exploration", "loss"),
    [
        ({"kind": "epsilon_greedy", "epsilon": 0.1}, "squared"),
        ({"kind": "square_cb", "scale": 10}, "squared"),
        ({"kind": "boltzmann", "temperature": 0.1}, "squared"),
        ({"kind": "fast_cb", "scale": 10}, "log"),
        ({"kind": "warm_up", "transitions": 200, "then": {"kind": "none"}}, "squared"),
    ],
    ids=lambda case: case["kind"] if isinstance(case, dict) else str(case),
)
def test_the_neural_bandit_finds_out_what_no_linear_one_can(
    exploration: dict[str, Any], loss: str
) -> None:
    config = _config(
        observation={"kind": "vector", "dim": 2},
        actions={"kind": "vector", "dim": 1},
        policy_learner={"kind": "neural", "hidden": [32], "loss": loss, "learning_rate": 0.01},
        exploration=exploration,
        replay={"kind": "fifo", "capacity": 2000},
        schedule={"batch_size": 32, "warmup_transitions": 32},
    )
    actions = ActionSet(("same", "different"), np.array([[1], [-1]], np.float32))

    def ask(generator: np.random.Generator) -> tuple[Floats, ActionSet, list[float]]:
        state = generator.uniform(-1, 1, 2).astype(np.float32)
        is_same = bool(state[0] * state[1] > 0)
        return state, actions, [float(is_same), float(not is_same)]

    assert _share_of_best(config, ask, decisions=700, counted=200) > 0.8


@pytest.mark.parametrize("learner", ["neural", "neural_linear"])
def test_embeddings_tell_apart_actions_that_have_nothing_but_an_id(learner: str) -> None:
    config = _config(
        observation={"kind": "vector", "dim": 1},
        policy_learner={"kind": learner, "hidden": [32], "learning_rate": 0.01},
        action_representation={"kind": "embedding", "rows": 256, "dim": 8},
        exploration={"kind": "epsilon_greedy", "epsilon": 0.1},
        replay={"kind": "fifo", "capacity": 2000},
        schedule={"batch_size": 64, "updates_per_transition": 0.5},
    )
    representation = config.representation()

    def ask(generator: np.random.Generator) -> tuple[Floats, ActionSet, list[float]]:
        offered = generator.choice(20, 4, replace=False).tolist()
        ids = tuple(f"article-{number}" for number in offered)
        features = representation.encode(ids, np.zeros((4, 0), np.float32))
        sign = float(generator.choice([-1.0, 1.0]))
        rewards = [float(sign == (1.0 if number % 2 else -1.0)) for number in offered]
        return np.array([sign], np.float32), ActionSet(ids, features), rewards

    assert _share_of_best(config, ask, decisions=1200, counted=200) > 0.8


@pytest.mark.parametrize("kind", ["one_hot", "binary"])
@pytest.mark.parametrize(
    "safety",
    [
        {"kind": "action_filter", "denied": ["best"]},
        {
            "kind": "stack",
            "parts": [
                {"kind": "action_filter", "denied": ["best"]},
                {"kind": "action_filter", "allowed": ["best", "good", "bad"]},
            ],
        },
    ],
    ids=lambda safety: safety["kind"],
)
def test_the_best_of_the_actions_that_safety_leaves_is_found(
    safety: dict[str, Any], kind: str
) -> None:
    ids, rewards = ("best", "good", "bad"), (1.0, 0.6, 0.2)
    config = _config(
        observation={"kind": "none"},
        policy_learner={"kind": "linear"},
        action_representation={"kind": kind, "ids": list(ids)},
        exploration={"kind": "epsilon_greedy", "epsilon": 0.2},
        safety=safety,
    )
    learner = AgentLearner(config.policy_learner, None, config.schedule, config.spec)
    actions = ActionSet(ids, config.representation().encode(ids, np.zeros((3, 0), np.float32)))
    state, played = np.zeros(0, np.float32), []

    for number in range(100):
        assert isinstance(learner.policy, Policy)
        agent = Agent(config, learner.policy, experience=learner.experience)
        decision = agent.act(state, actions, agent.prepare(actions), seed=seed_of(str(number), "t"))
        reward = rewards[decision.index]
        learner.learn(
            [a_transition(state=state, actions=actions, action=decision.index, reward=reward)]
        )
        played.append(ids[decision.index])

    assert "best" not in played
    # One in ten is "bad", by chance.
    assert played[-50:].count("good") > 35


def test_disjoint_models_follow_articles_that_come_and_go() -> None:
    config = _config(
        observation={"kind": "vector", "dim": 2},
        policy_learner={"kind": "disjoint_linear", "max_arms": 8},
        action_representation={"kind": "position"},
        exploration={"kind": "thompson", "scale": 0.3},
    )
    representation = config.representation()
    asked = 0

    def ask(generator: np.random.Generator) -> tuple[Floats, ActionSet, list[float]]:
        nonlocal asked
        asked += 1
        # Five articles at a time; every 100 decisions the oldest makes room for a new one.
        ids = tuple(f"article-{number}" for number in range(asked // 100, asked // 100 + 5))
        features = representation.encode(ids, np.zeros((5, 0), np.float32))
        state = generator.standard_normal(2).astype(np.float32)
        angles = np.arange(asked // 100, asked // 100 + 5) * 2.4
        rewards = state[0] * np.cos(angles) + state[1] * np.sin(angles)
        return state, ActionSet(ids, features), rewards.tolist()

    assert _share_of_best(config, ask, decisions=800, counted=400) > 0.8
