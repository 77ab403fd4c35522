"""Uniform at first, and then another exploration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agent_core.config import parse_agent_config
from agent_core.errors import ConfigError
from agent_core.exploration.thompson import ThompsonConfig
from agent_core.exploration.ucb import UcbConfig
from agent_core.exploration.warm_up import BoxWarmUp, WarmUpConfig
from agent_core.types import ActionScores, Box, Floats

_SCORES = ActionScores(np.array([0.0, 3.0, 1.0, 2.0]), np.zeros((4, 1)))


def _probabilities(experience: int, **config: Any) -> list[float]:
    module = WarmUpConfig.model_validate(config).build()
    return list(module.probabilities(_SCORES, experience=experience, seed=0))


def test_it_is_uniform_until_enough_was_learned() -> None:
    config = {"transitions": 10, "then": {"kind": "none"}}

    assert _probabilities(9, **config) == [0.25] * 4
    assert _probabilities(10, **config) == [0, 1, 0, 0]


def test_the_other_exploration_keeps_its_own_schedule() -> None:
    then = {"kind": "epsilon_greedy", "final_epsilon": 0.0, "decay_transitions": 200}

    worst = _probabilities(100, transitions=50, then={**then, "epsilon": 0.8})[0]

    # Half of the decay from 0.8 to 0 is over after 100 transitions: 0.4 / 4.
    assert worst == pytest.approx(0.1)


def test_it_needs_what_the_other_needs_and_explores_what_the_other_explores() -> None:
    warm = WarmUpConfig(then=ThompsonConfig())

    assert warm.needs == ThompsonConfig.needs
    assert warm.serves == ThompsonConfig.serves
    assert WarmUpConfig.needs == frozenset()


def test_a_learner_without_a_spread_is_refused_a_warm_up_for_thompson() -> None:
    with pytest.raises(ConfigError, match="'warm_up' needs 'spread', which 'neural' lacks"):
        parse_agent_config(
            {
                "observation": {"kind": "vector", "dim": 1},
                "actions": {"kind": "vector", "dim": 1},
                "policy_learner": {"kind": "neural"},
                "exploration": {"kind": "warm_up", "then": {"kind": "thompson"}},
                "replay": {"kind": "fifo"},
            }
        )


def test_a_warm_up_of_a_warm_up_is_refused_with_the_place() -> None:
    with pytest.raises(ConfigError, match=r"exploration\.then\.kind: 'warm_up' is not known"):
        parse_agent_config(
            {
                "observation": {"kind": "vector", "dim": 1},
                "actions": {"kind": "vector", "dim": 1},
                "policy_learner": {"kind": "linear"},
                "exploration": {"kind": "warm_up", "then": {"kind": "warm_up"}},
            }
        )


def test_an_exploration_that_keeps_to_an_opinion_for_an_episode_is_refused() -> None:
    class _Consistent(UcbConfig):
        is_consistent = True

    with pytest.raises(ValueError, match="without a warm-up"):
        WarmUpConfig(then=_Consistent())


def test_what_was_written_is_read_back() -> None:
    config = WarmUpConfig(transitions=7, then=UcbConfig(alpha=0.25))

    assert WarmUpConfig.model_validate(config.model_dump(mode="json")) == config


class _Middle:
    """Always plays the middle of the box, for sure."""

    def mean(self, state: Floats) -> Floats:
        return np.array([0.5, 0.0], np.float32)

    def draw(self, *_: Any, **__: Any) -> tuple[Floats, float]:
        return np.array([0.5, 0.0], np.float32), 7.0


def _drawn(experience: int, seed: int = 0) -> tuple[Floats, float]:
    box = Box((0.0, -2.0), (1.0, 2.0))
    module = BoxWarmUp(10, _Middle())
    return module.draw(_Middle(), np.zeros(1, np.float32), box, experience=experience, seed=seed)


def test_in_a_box_it_draws_any_point_at_the_density_of_one_over_the_volume() -> None:
    points = np.array([_drawn(0, seed)[0] for seed in range(2000)])

    # The box has sides of 1 and 4. Standard errors of the means: 0.289 / 45 = 0.0065 and 0.026.
    assert _drawn(0)[1] == 0.25
    assert points.dtype == np.float32
    assert ((points >= [0, -2]) & (points <= [1, 2])).all()
    np.testing.assert_allclose(points.mean(0), [0.5, 0.0], atol=0.1)
    np.testing.assert_allclose(points.std(0), [0.289, 1.155], atol=0.1)


def test_in_a_box_the_same_seed_draws_the_same_point() -> None:
    np.testing.assert_array_equal(_drawn(0, seed=3)[0], _drawn(0, seed=3)[0])


def test_in_a_box_the_other_exploration_takes_over() -> None:
    assert _drawn(10)[1] == 7.0
