"""The policy's own distribution is what is played."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agent_core.exploration.propensity import PropensityConfig
from agent_core.types import ActionScores


def test_actions_are_played_as_often_as_the_policy_wants() -> None:
    # Log-probabilities ln 1, ln 2, ln 5 up to a constant; all negative does not turn them round.
    scores = ActionScores(np.log([1.0, 2.0, 5.0]) - 100.0)

    probabilities = PropensityConfig().build().probabilities(scores, experience=0, seed=0)

    assert probabilities.tolist() == pytest.approx([0.125, 0.25, 0.625])


def test_an_action_that_is_gone_leaves_its_share_to_the_others() -> None:
    scores = ActionScores(np.array([math.log(1.0), math.log(5.0)]))

    probabilities = PropensityConfig().build().probabilities(scores, experience=0, seed=0)

    assert probabilities.tolist() == pytest.approx([1 / 6, 5 / 6])


def test_it_needs_a_policy_whose_values_are_log_probabilities() -> None:
    assert PropensityConfig.needs == {"actor"}
