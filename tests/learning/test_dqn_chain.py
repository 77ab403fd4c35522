"""DQN on a corridor whose values are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agent_core.interfaces import Policy
from agent_core.policy_learners.value_based.dqn import DqnConfig
from agent_core.replay.fifo import FifoConfig
from agent_core.training.agent_learner import AgentLearner
from agent_core.training.schedule import ScheduleConfig
from agent_core.types import ActionSet, Floats, ProblemSpec, Transition
from tests.support.learners import ragged
from tests.support.transitions import a_transition

pytestmark = pytest.mark.learning

_LENGTH, _DISCOUNT = 5, 0.8
_BOTH = ActionSet(("left", "right"), np.eye(2, dtype=np.float32))
_RIGHT_ONLY = ActionSet(("right",), np.eye(2, dtype=np.float32)[1:])


def _place(number: int) -> Floats:
    place: Floats = np.eye(_LENGTH, dtype=np.float32)[number]
    return place


def _available(place: int) -> ActionSet:
    """At the left end there is no going left."""
    return _BOTH if place else _RIGHT_ONLY


def _step(place: int, action: str) -> Transition:
    """One step of the corridor; leaving it on the right pays 1 and ends the episode."""
    there = place + (1 if action == "right" else -1)
    is_out = there == _LENGTH
    return a_transition(
        state=_place(place),
        actions=_available(place),
        action=_available(place).ids.index(action),
        reward=float(is_out),
        next_state=None if is_out else _place(there),
        next_actions=None if is_out else _available(there),
        terminated=is_out,
    )


def test_values_of_a_corridor_are_discounted_distances_to_its_end() -> None:
    every_step = [_step(p, a) for p in range(_LENGTH) for a in _available(p).ids]
    learner = AgentLearner(
        DqnConfig(hidden=(32,), discount=_DISCOUNT, learning_rate=3e-3, target_mix=0.05),
        FifoConfig(capacity=100),
        ScheduleConfig(batch_size=32, updates_per_transition=0, seed=1),
        ProblemSpec(state_dim=_LENGTH, action_dim=2, max_actions=2),
    )

    learner.learn(every_step)
    learner.extra_updates(1500)

    # From place p the end is _LENGTH - p steps away; going left first adds two.
    right = [_DISCOUNT ** (_LENGTH - 1 - p) for p in range(_LENGTH)]
    left = [_DISCOUNT ** (_LENGTH + 1 - p) for p in range(1, _LENGTH)]
    states = torch.from_numpy(np.stack([_place(p) for p in range(_LENGTH)]))
    assert isinstance(learner.policy, Policy)
    q = learner.policy.values(states, ragged([_available(p) for p in range(_LENGTH)]))
    expected = [right[0], *(v for pair in zip(left, right[1:], strict=True) for v in pair)]
    torch.testing.assert_close(q, torch.tensor(expected), atol=0.03, rtol=0)
