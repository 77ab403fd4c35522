"""New transitions as one batch."""

from __future__ import annotations

import numpy as np
import torch

from agent_core.training.collate import collate
from agent_core.types import ActionSet, ProblemSpec
from tests.support.transitions import a_transition

_SPEC = ProblemSpec(state_dim=2, action_dim=3, max_actions=10)
_CPU = torch.device("cpu")


def test_rows_are_the_transitions_in_order() -> None:
    two = ActionSet(("x", "y"), np.array([[1, 2, 3], [4, 5, 6]], np.float32))
    last = a_transition()
    going_on = a_transition(
        actions=two,
        action=1,
        reward=2.0,
        terminated=False,
        truncated=True,
        next_state=np.array([5.0, 6.0], np.float32),
        next_actions=two,
    )

    batch = collate([last, going_on], _SPEC, _CPU)

    assert batch.state.tolist() == [[1.0, -2.0], [1.0, -2.0]]
    assert batch.actions.offsets.tolist() == [0, 3, 5]
    assert batch.chosen_features().tolist() == [[0.0, 1.0, 0.0], [4.0, 5.0, 6.0]]
    assert batch.reward.tolist() == [0.5, 2.0]
    assert batch.cost.tolist() == [0.25, 0.25]
    assert batch.propensity.tolist() == [0.125, 0.125]
    assert batch.next_state.tolist() == [[0.0, 0.0], [5.0, 6.0]]
    assert batch.next_actions.offsets.tolist() == [0, 0, 2]
    assert batch.bootstraps.tolist() == [0.0, 1.0]


def test_the_batch_shares_no_memory_with_the_transitions() -> None:
    transition = a_transition()

    batch = collate([transition], _SPEC, _CPU)
    transition.state[:] = 100.0
    transition.actions.features[:] = 100.0

    assert batch.state.max() == 1.0
    assert batch.actions.features.max() == 1.0
