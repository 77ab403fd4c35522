"""What every exploration module owes: over sets, in a box, and where it keeps to one opinion."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agent_core.interfaces import BoxScorer, ConsistentExploration, ExplorationConfig
from agent_core.policy_learners.actor_critic.sac import SacConfig
from agent_core.registry import AnyExploration, members
from agent_core.types import ActionScores, Box, Floats, ProblemSpec
from tests.support.strategies import scores, seeds

experiences = st.integers(0, 10**9)
_CONFIGS: list[Any] = [member() for member in members(AnyExploration)]


def _each(configs: list[Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("config", configs, ids=[config.kind for config in configs])


each_exploration = _each([config for config in _CONFIGS if "sets" in config.serves])
each_of_a_box = _each([config for config in _CONFIGS if "box" in config.serves])
each_consistent = _each([config for config in _CONFIGS if config.is_consistent])


def test_every_registered_exploration_is_checked_here() -> None:
    assert all(config.serves & {"sets", "box"} for config in _CONFIGS)
    assert any("box" in config.serves for config in _CONFIGS)
    assert any(config.is_consistent for config in _CONFIGS)


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


# -- one opinion for an episode -------------------------------------------------------------------


@each_consistent
@given(given_scores=scores(), experience=experiences, episode=seeds)
def test_an_episode_picks_the_same_action_each_time_and_one_that_has_a_probability(
    config: ExplorationConfig, given_scores: ActionScores, experience: int, episode: int
) -> None:
    module = cast("ConsistentExploration", config.build())

    picked = module.pick(given_scores, episode, experience=experience)

    assert picked == module.pick(given_scores, episode, experience=experience)
    probabilities = module.probabilities(given_scores, experience=experience, seed=0)
    assert picked is None or probabilities[picked] > 0


# -- in a box -------------------------------------------------------------------------------------

# Limits that float32 cannot hold: rounding to the nearest would leave this box on both sides.
_BOX = Box((0.1, -1e4), (0.3, 1e4 / 3))
_STATE = np.array([0.5, -1.0], np.float32)


def _scorer(box: Box = _BOX) -> BoxScorer:
    """Of a policy that is a distribution, so that all explorations may ask it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        policy = SacConfig(hidden=(8,)).build_policy(ProblemSpec(2, box.dim, 1, box=box))
    return policy.scorer()


def _draw(config: ExplorationConfig, seed: int, box: Box = _BOX) -> tuple[Floats, float]:
    return config.build_box().draw(_scorer(box), _STATE, box, experience=0, seed=seed)


@each_of_a_box
def test_what_is_played_lies_in_the_box_and_follows_its_seed(config: ExplorationConfig) -> None:
    module, scorer, state = config.build_box(), _scorer(), _STATE.copy()

    drawn = [module.draw(scorer, state, _BOX, experience=0, seed=seed) for seed in range(50)]

    again = [module.draw(scorer, state, _BOX, experience=0, seed=seed) for seed in range(50)]
    assert [(a.tobytes(), d) for a, d in drawn] == [(a.tobytes(), d) for a, d in again]
    actions = np.stack([action for action, _ in drawn])
    assert actions.dtype == np.float32
    assert (actions.astype(np.float64) >= _BOX.low).all()
    assert (actions.astype(np.float64) <= _BOX.high).all()
    np.testing.assert_array_equal(state, _STATE)


@each_of_a_box
def test_exactly_what_was_drawn_has_a_density_that_is_finite(config: ExplorationConfig) -> None:
    mean = _scorer().mean(_STATE)

    drawn = [_draw(config, seed) for seed in range(20)]

    for action, density in drawn:
        assert density > 0
        assert (density == math.inf) == np.array_equal(action, mean)


@each_of_a_box
def test_the_density_is_that_of_the_draws(config: ExplorationConfig) -> None:
    # The mean of 1 / density over the draws that fall into a region is the size of the region.
    box = Box((-30.0,), (50.0,))
    module, scorer = config.build_box(), _scorer(box)

    drawn = [module.draw(scorer, _STATE, box, experience=0, seed=seed) for seed in range(8000)]

    actions = np.array([action[0] for action, _ in drawn], np.float64)
    densities = np.array([density for _, density in drawn])
    low, high = np.quantile(actions, [0.2, 0.8])
    size = np.where((actions > low) & (actions < high), 1 / densities, 0).mean()
    assert size == pytest.approx(high - low, rel=0.06)
