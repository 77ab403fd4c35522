"""Inverse gap weighting in a whole agent: only what is available counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agent_core.agent import Agent
from agent_core.config import parse_agent_config
from agent_core.types import ActionSet, Decision
from tests.support.fixed_policy import FixedPolicy

_ACTIONS = ActionSet(("a", "b", "c"), np.array([[0.5], [1.0], [0.7]], np.float32))


def _decision(exploration: dict[str, Any], **options: Any) -> Decision:
    config = parse_agent_config(
        {
            "observation": {"kind": "vector", "dim": 1},
            "actions": {"kind": "vector", "dim": 1},
            "policy_learner": {"kind": "linear"},
            "exploration": exploration,
        }
    )
    agent = Agent(config, FixedPolicy(), experience=1)
    state = np.zeros(1, np.float32)
    return agent.act(state, _ACTIONS, agent.prepare(_ACTIONS), seed=1, **options)


def test_square_cb_counts_and_compares_available_actions_only() -> None:
    excluded = np.array([False, True, False])

    decision = _decision({"kind": "square_cb", "scale": 10}, excluded=excluded)

    # Of two that are left the gap is 0.2: 1 / (2 + 10 * 0.2) = 1/4. The excluded one was the best.
    assert decision.probabilities == pytest.approx([1 / 4, 0, 3 / 4])


def test_fast_cb_takes_the_best_loss_among_available_actions() -> None:
    excluded = np.array([False, True, False])

    decision = _decision({"kind": "fast_cb", "scale": 10}, excluded=excluded)

    # Losses 0.5 and 0.3: 0.3 / (2 * 0.3 + 10 * 0.2) = 0.3 / 2.6.
    assert decision.probabilities == pytest.approx([0.3 / 2.6, 0, 2.3 / 2.6])


def test_a_warm_up_is_uniform_over_available_actions() -> None:
    excluded = np.array([False, True, False])

    assert _decision({"kind": "warm_up"}, excluded=excluded).probabilities.tolist() == [0.5, 0, 0.5]


@pytest.mark.parametrize("kind", ["square_cb", "fast_cb", "warm_up"])
def test_exploiting_takes_the_best_for_certain(kind: str) -> None:
    decision = _decision({"kind": kind}, explore=False)

    assert decision.probabilities.tolist() == [0, 1, 0]
