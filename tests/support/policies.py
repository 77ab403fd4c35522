"""Small policies that tests put into the service."""

from __future__ import annotations

from typing import Any


def bandit(policy: str = "home", **changes: Any) -> dict[str, Any]:
    """Two-number observations, ids that need no features, a linear learner, epsilon-greedy."""
    document: dict[str, Any] = {
        "policy": policy,
        "agent": {
            "observation": {"kind": "vector", "dim": 2},
            "max_actions": 50,
            "policy_learner": {"kind": "linear"},
            "exploration": {"kind": "epsilon_greedy", "epsilon": 0.5},
            "action_representation": {"kind": "one_hot", "ids": ["a", "b", "c"]},
        },
        "reward": {"wait_s": 60},
    }
    return document | changes


def with_agent(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The same policy with other agent sections."""
    return document | {"agent": document["agent"] | changes}


def featured(policy: str = "shop") -> dict[str, Any]:
    """Named observations and actions with three numbers each, for catalogs and inline features."""
    return {
        "policy": policy,
        "agent": {
            "observation": {
                "kind": "named",
                "fields": {
                    "user.age": {"type": "number", "mean": 40, "scale": 20},
                    "user.tier": {"type": "category", "values": ["gold", "silver"]},
                },
            },
            "actions": {"kind": "vector", "dim": 3},
            "policy_learner": {"kind": "neural_linear"},
            "exploration": {"kind": "epsilon_greedy", "epsilon": 0.2},
            "action_representation": {"kind": "identity"},
            "replay": {"kind": "fifo", "capacity": 1000},
        },
        "reward": {"wait_s": 60, "components": {"click": 1.0, "dwell_s": 0.1}},
    }


def sequential(policy: str = "cart") -> dict[str, Any]:
    """Episodes of two actions, learned by DQN."""
    return {
        "policy": policy,
        "agent": {
            "observation": {"kind": "vector", "dim": 2},
            "policy_learner": {"kind": "dqn"},
            "exploration": {"kind": "epsilon_greedy", "epsilon": 0.2},
            "action_representation": {"kind": "one_hot", "ids": ["left", "right"]},
            "replay": {"kind": "fifo", "capacity": 1000},
        },
        "reward": {"wait_s": 60},
        "episodes": {"idle_s": 60},
    }


def steering(policy: str = "steer", **changes: Any) -> dict[str, Any]:
    """Episodes of two continuous numbers each, learned by TD3 with Gaussian noise."""
    document: dict[str, Any] = {
        "policy": policy,
        "agent": {
            "observation": {"kind": "vector", "dim": 2},
            "actions": {"kind": "box", "low": [-2.0, 0.0], "high": [2.0, 1.0]},
            "policy_learner": {"kind": "td3"},
            "exploration": {"kind": "gaussian"},
            "replay": {"kind": "fifo", "capacity": 1000},
        },
        "reward": {"wait_s": 60},
        "episodes": {"idle_s": 60},
    }
    return document | changes
