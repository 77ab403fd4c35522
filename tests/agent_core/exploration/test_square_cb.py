"""Inverse gap weighting in a whole agent: only what is available counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from agent_core.agent import Agent
from agent_core.config import parse_agent_config
from agent_core.exploration.fast_cb import FastCbConfig
from agent_core.exploration.square_cb import SquareCbConfig
from agent_core.functional.choice import LARGEST_SCORE
from agent_core.types import ActionScores, ActionSet, Decision
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


def test_gaps_of_rewards_of_another_range_are_shares_of_it() -> None:
    # A gap of 0.3 in [0, 1], or of 6 in [-10, 10]: 1 / (2 + 10 * 0.3) = 1/5.
    unit = SquareCbConfig().build()
    wide = SquareCbConfig(reward_range=(-10, 10)).build()

    for module, values in ((unit, [0.1, 0.4]), (wide, [-8.0, -2.0])):
        scores = ActionScores(np.array(values))
        probabilities = module.probabilities(scores, experience=1, seed=0)
        assert probabilities == pytest.approx([1 / 5, 4 / 5])


@pytest.mark.parametrize(
    "limits", [[1, 1], [1, 0], [0, 1e-12], [1e12, 1e12], [-1e13, 0], [0, 1e13]]
)
@pytest.mark.parametrize("config", [SquareCbConfig, FastCbConfig])
def test_a_range_without_room_is_refused(config: type[Any], limits: list[float]) -> None:
    with pytest.raises(ValidationError, match=r"reward_range[\s\S]*write \[low, high\]"):
        config(reward_range=limits)


@pytest.mark.parametrize("config", [SquareCbConfig, FastCbConfig])
@pytest.mark.parametrize("limits", [[0, 1e-9], [-1e12, 1e12]])
def test_no_range_overflows(config: type[Any], limits: list[float]) -> None:
    module = config(scale=1e9, exponent=1, reward_range=limits).build()
    scores = ActionScores(np.array([LARGEST_SCORE, 0.0, -LARGEST_SCORE]))

    probabilities = module.probabilities(scores, experience=10**9, seed=0)

    assert probabilities.sum() == pytest.approx(1.0, abs=1e-12)
    assert (probabilities >= 0).all()
