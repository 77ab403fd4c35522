"""What every exploration module owes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.interfaces import ExplorationConfig
from agent_core.registry import AnyExploration, members
from agent_core.types import ActionScores
from tests.support.strategies import scores, seeds

experiences = st.integers(0, 10**9)
each_exploration = pytest.mark.parametrize(
    "config",
    [config for member in members(AnyExploration) if "sets" in (config := member()).serves],
    ids=lambda config: config.kind,
)


@each_exploration
@given(given_scores=scores(), experience=experiences, seed=seeds)
def test_it_gives_a_distribution_over_all_actions(
    config: ExplorationConfig, given_scores: ActionScores, experience: int, seed: int
) -> None:
    probabilities = config.build().probabilities(given_scores, experience=experience, seed=seed)

    assert probabilities.dtype == np.float64
    assert probabilities.shape == given_scores.value.shape
    assert (probabilities >= 0.0).all()
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-12)


@each_exploration
@given(given_scores=scores(), experience=experiences, seed=seeds)
def test_the_same_seed_gives_the_same_bits_and_the_scores_stay_as_they_were(
    config: ExplorationConfig, given_scores: ActionScores, experience: int, seed: int
) -> None:
    assert given_scores.spread is not None
    before = given_scores.value.tobytes(), given_scores.spread.tobytes()

    once = config.build().probabilities(given_scores, experience=experience, seed=seed)
    again = config.build().probabilities(given_scores, experience=experience, seed=seed)

    assert once.tobytes() == again.tobytes()
    assert before == (given_scores.value.tobytes(), given_scores.spread.tobytes())


@each_exploration
def test_a_single_action_is_certain(config: ExplorationConfig) -> None:
    single = ActionScores(np.array([-2.0]), np.array([[0.7, 0.1]]), np.array([[1.0, 2.0]]))

    probabilities = config.build().probabilities(single, experience=5, seed=9)

    assert probabilities == pytest.approx([1.0], abs=1e-12)


@each_exploration
def test_only_what_needs_a_spread_or_members_looks_at_them(config: ExplorationConfig) -> None:
    without = ActionScores(np.array([0.0, 1.0]))

    if needed := {"spread", "members"} & config.needs:
        with pytest.raises(AssertionError, match=needed.pop()):
            config.build().probabilities(without, experience=0, seed=0)
    else:
        assert config.build().probabilities(without, experience=0, seed=0)[1] >= 0.5
