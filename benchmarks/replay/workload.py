"""What is stored: two policies, and transitions for them. All numbers are drawn from fixed seeds."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from agent_core.types import ActionSet, Floats, ProblemSpec, Transition
from service.policies.config import PolicyConfig, parse_policy

STEPS: Final = 100
"""Length of an episode."""
_LEARNER: Final = {"schedule": {"updates_per_transition": 0}}


def walker(capacity: int) -> PolicyConfig:
    """Observations of 17 numbers, actions of 6: the sizes of HalfCheetah. Nothing is updated."""
    box = {"kind": "box", "low": [-1.0] * 6, "high": [1.0] * 6}
    return _policy(17, box, "td3", {"kind": "gaussian"}, capacity)


def shop(capacity: int, state_dim: int, action_dim: int) -> PolicyConfig:
    """Sets of actions with features. Nothing is updated."""
    actions = {"kind": "vector", "dim": action_dim}
    return _policy(state_dim, actions, "dqn", {"kind": "epsilon_greedy", "epsilon": 0.1}, capacity)


def _policy(
    state_dim: int,
    actions: dict[str, Any],
    learner: str,
    exploration: dict[str, Any],
    capacity: int,
) -> PolicyConfig:
    agent = {
        "observation": {"kind": "vector", "dim": state_dim},
        "actions": actions,
        "policy_learner": {"kind": learner},
        "exploration": exploration,
        "action_representation": {"kind": "identity"},
        "replay": {"kind": "fifo", "capacity": capacity},
    }
    episodes = {"idle_s": 60}
    document = {"policy": "bench", "agent": agent | _LEARNER, "episodes": episodes}
    return parse_policy(document | {"reward": {"wait_s": 60}})


def transitions(spec: ProblemSpec, count: int, actions: int = 1) -> list[Transition]:
    """`count` steps of episodes of `STEPS`. In a box each has an action of its own; otherwise all of them
    have the same set of `actions`."""
    generator = np.random.default_rng(0)
    shared = _set(_drawn(generator, (actions, spec.action_dim)))
    states = _drawn(generator, (count + 1, spec.state_dim))
    taken = _drawn(generator, (count + 1, 1, spec.action_dim))
    is_box = spec.box is not None
    return [
        _transition(
            at,
            states,
            _set(taken[at]) if is_box else shared,
            _set(taken[at + 1]) if is_box else shared,
        )
        for at in range(count)
    ]


def _transition(at: int, states: Floats, now: ActionSet, then: ActionSet) -> Transition:
    episode, step = divmod(at, STEPS)
    return Transition(
        decision_id=f"d-{at:018d}",
        state=states[at],
        actions=now,
        action=at % len(now),
        reward=float(states[at, 0]),
        cost=0.0,
        next_state=states[at + 1],
        next_actions=then,
        terminated=False,
        truncated=step == STEPS - 1,
        propensity=1.0 / len(now),
        model_version=1,
        next_action=0,
        episode_id=f"e-{episode:010d}",
        step=step,
    )


def _drawn(generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return generator.uniform(-1, 1, shape).astype(np.float32)


def _set(features: Floats) -> ActionSet:
    return ActionSet(tuple(f"a-{at:03d}" for at in range(len(features))), features)
