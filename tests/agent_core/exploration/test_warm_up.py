"""Uniform at first, and then another exploration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agent_core.agent import Agent, seed_of
from agent_core.config import parse_agent_config
from agent_core.errors import ConfigError
from agent_core.exploration.deep import DeepConfig
from agent_core.exploration.thompson import ThompsonConfig
from agent_core.exploration.ucb import UcbConfig
from agent_core.exploration.warm_up import BoxWarmUp, WarmUpConfig
from agent_core.types import ActionScores, ActionSet, Box, Floats
from tests.support.fixed_policy import FixedPolicy

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


# Two actions, four members: three like the first, one the second.
_MEMBERS = np.array([[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])


def test_while_it_warms_up_no_opinion_is_kept_and_after_that_one_for_each_episode() -> None:
    warm = WarmUpConfig(transitions=10, then=DeepConfig())
    module, scores = warm.build(), ActionScores(_MEMBERS.mean(axis=1), members=_MEMBERS)

    picks = [module.pick(scores, seed_of(str(n), ""), experience=10) for n in range(400)]

    assert warm.is_consistent
    assert not WarmUpConfig(then=UcbConfig()).is_consistent
    assert module.pick(scores, 1, experience=9) is None
    # A standard error of 0.022.
    assert picks.count(0) / 400 == pytest.approx(0.75, abs=0.08)


@pytest.mark.parametrize(("experience", "floor"), [(9, 0.0), (9, 0.1), (10, 0.0), (10, 0.1)])
@pytest.mark.parametrize("has_episodes", [True, False])
def test_before_and_after_actions_are_played_as_often_as_the_log_says(
    experience: int, floor: float, has_episodes: bool
) -> None:
    agent = _deep_agent(experience, min_propensity=floor)
    state, actions = np.zeros(1, np.float32), ActionSet(("a", "b"), _MEMBERS_OF_FEATURES)

    decisions = [
        agent.act(
            state,
            actions,
            agent.prepare(actions),
            seed=seed_of(str(n), "decision"),
            episode=seed_of(str(n), "episode") if has_episodes else None,
        )
        for n in range(20_000)
    ]

    # The better of two, in 3 of 4 members: 0.5, or 0.75 mixed with a floor of 0.1 for each of the two.
    expected = 0.5 if experience < 10 else 0.8 * 0.75 + 0.1 if floor else 0.75
    played = [d.index for d in decisions].count(0) / len(decisions)
    assert decisions[0].probabilities == pytest.approx([expected, 1 - expected])
    assert {d.propensity for d in decisions} <= set(decisions[0].probabilities.tolist())
    # A standard error below 0.0036.
    assert played == pytest.approx(expected, abs=0.015)


def test_an_episode_that_lives_through_the_warm_up_goes_on_with_its_member() -> None:
    state, actions = np.zeros(1, np.float32), ActionSet(("a", "b"), _MEMBERS_OF_FEATURES)
    cold, warm = _deep_agent(9), _deep_agent(10)

    def played(agent: Agent) -> set[int]:
        prepared = agent.prepare(actions)
        return {
            agent.act(state, actions, prepared, seed=seed, episode=1).index for seed in range(20)
        }

    assert played(cold) == {0, 1}
    assert len(played(warm)) == 1


# The first feature is the value, which `FixedPolicy` adds to what each member thinks besides.
_MEMBERS_OF_FEATURES = np.hstack([np.zeros((2, 1)), _MEMBERS]).astype(np.float32)


def _deep_agent(experience: int, **changes: Any) -> Agent:
    config = parse_agent_config(
        {
            "observation": {"kind": "vector", "dim": 1},
            "actions": {"kind": "vector", "dim": 5},
            "max_actions": 2,
            "policy_learner": {"kind": "bootstrapped_dqn"},
            "exploration": {"kind": "warm_up", "transitions": 10, "then": {"kind": "deep"}},
            "replay": {"kind": "fifo"},
            **changes,
        }
    )
    return Agent(config, FixedPolicy(has_spread=True), experience=experience)


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
