"""Histories on a corridor whose first step tells what is right at its end."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from agent_core.history.none import NoHistoryConfig
from agent_core.interfaces import HistoryModule, Policy
from agent_core.policy_learners.value_based.dqn import DqnConfig
from agent_core.registry import AnyHistory, members
from agent_core.replay.fifo import FifoConfig
from agent_core.training.agent_learner import AgentLearner
from agent_core.training.schedule import ScheduleConfig
from agent_core.types import ActionSet, Floats, ProblemSpec, Transition
from tests.support.learners import ragged
from tests.support.transitions import a_transition

pytestmark = pytest.mark.learning

_BOTH = ActionSet(("left", "right"), np.eye(2, dtype=np.float32))
_CUES, _JUNCTION = (-1.0, 1.0), np.array([0.0, 1.0], np.float32)


def _entrance(cue: float) -> Floats:
    return np.array([cue, 0.0], np.float32)


def _episode(history: HistoryModule, cue: float, first: int, second: int) -> list[Transition]:
    """The entrance, where the cue is seen and any action leads on; then the junction, where right
    pays the cue and left the opposite. The junction looks the same after every cue."""
    carry = history.initial_carry()
    start = history.state(carry, _entrance(cue))
    carry = history.advance(carry, _entrance(cue), _BOTH.features[first])
    end = history.state(carry, _JUNCTION)
    onwards = a_transition(
        state=start,
        actions=_BOTH,
        action=first,
        reward=0.0,
        next_state=end,
        next_actions=_BOTH,
        terminated=False,
    )
    out = a_transition(state=end, actions=_BOTH, action=second, reward=cue if second == 1 else -cue)
    return [onwards, out]


def _values(config: Any) -> torch.Tensor:
    """`[cue, first action, step, action]`: what DQN has learned about every step."""
    history = config.build(observation_dim=2, action_dim=2)
    learner = AgentLearner(
        DqnConfig(hidden=(32,), discount=0.5, learning_rate=2e-3, target_mix=0.05),
        FifoConfig(capacity=100),
        ScheduleConfig(batch_size=32, updates_per_transition=0, seed=1),
        ProblemSpec(history.state_dim, 2, 2, history.summary),
    )
    for cue, first, second in product(_CUES, (0, 1), (0, 1)):
        learner.learn(_episode(history, cue, first, second))
    learner.extra_updates(500)
    steps = [
        step for cue, first in product(_CUES, (0, 1)) for step in _episode(history, cue, first, 0)
    ]
    states = torch.from_numpy(np.stack([step.state for step in steps]))
    assert isinstance(learner.policy, Policy)
    values = learner.policy.values(states, ragged([_BOTH] * len(steps)))
    return values.reshape(2, 2, 2, 2)


@pytest.mark.parametrize(
    "config",
    [member() for member in members(AnyHistory) if member is not NoHistoryConfig],
    ids=lambda config: config.kind,
)
def test_a_history_learns_what_the_first_step_says_about_the_last(config: Any) -> None:
    values = _values(config)

    junction = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).unsqueeze(1).expand(2, 2, 2)
    torch.testing.assert_close(values[:, :, 1], junction, atol=0.1, rtol=0)
    # The entrance is worth discount * the best of the junction, whatever is done.
    torch.testing.assert_close(values[:, :, 0], torch.full((2, 2, 2), 0.5), atol=0.1, rtol=0)


def test_without_a_history_the_junction_is_worth_nothing() -> None:
    values = _values(NoHistoryConfig())

    # Each action pays 1 or -1 equally often; 0.2 is what the last batches tilt it by.
    torch.testing.assert_close(values[:, :, 1], torch.zeros(2, 2, 2), atol=0.2, rtol=0)
