"""Memory of the FIFO replay, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agent_core.errors import SnapshotError
from agent_core.replay.fifo import FifoConfig, FifoReplay
from agent_core.types import ActionSet, ProblemSpec, Transition
from tests.support.learners import SPEC, action_set, made_up
from tests.support.transitions import a_transition

_WIDE = ProblemSpec(state_dim=16, action_dim=16, max_actions=100)


def _step(number: int, actions: ActionSet) -> Transition:
    state = np.full(16, number, np.float32)
    return a_transition(
        state=state, next_state=state, actions=actions, next_actions=actions, terminated=False
    )


def _replay(capacity: int, spec: ProblemSpec = SPEC) -> FifoReplay:
    return FifoConfig(capacity=capacity).build(spec, torch.device("cpu"))


def test_a_transition_with_a_hundred_shared_actions_costs_at_most_400_bytes() -> None:
    replay = _replay(20_000, _WIDE)
    actions = action_set(np.random.default_rng(0), 100, dim=16)

    for number in range(20_000):
        replay.append(_step(number, actions))

    # Two states of 64 bytes, four numbers and three links are 168; copies of the sets would be 12,800.
    assert replay.size_bytes / len(replay) <= 400


def test_an_idle_policy_costs_little_whatever_its_capacity() -> None:
    assert _replay(10_000_000, _WIDE).size_bytes < 300_000


def test_sets_of_forgotten_transitions_are_forgotten() -> None:
    replay = _replay(8)

    for transition in made_up(500):
        replay.append(transition)

    assert replay.distinct_sets <= 16
    assert replay.size_bytes < 100_000


def test_a_replay_saved_with_another_capacity_is_refused() -> None:
    replay = _replay(8)

    with pytest.raises(SnapshotError, match=r"schema: .*capacity 8, this one has 9"):
        _replay(9).load_training_state(replay.training_state())
