"""Learners of continuous actions on problems whose best actions are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from agent_core.agent import seed_of
from agent_core.box_agent import BoxAgent
from agent_core.config import parse_agent_config
from agent_core.interfaces import BoxPolicy, BoxScorer
from agent_core.policy_learners.actor_critic.continuous_ppo import ContinuousPpoConfig
from agent_core.policy_learners.actor_critic.ddpg import DdpgConfig
from agent_core.policy_learners.actor_critic.distributional_sac import DistributionalSacConfig
from agent_core.policy_learners.actor_critic.sac import SacConfig
from agent_core.policy_learners.actor_critic.td3 import Td3Config
from agent_core.policy_learners.offline.continuous_cloning import ContinuousCloningConfig
from agent_core.policy_learners.offline.iql import IqlConfig
from agent_core.policy_learners.offline.td3_bc import Td3BcConfig
from agent_core.replay.episodic import EpisodicConfig
from agent_core.replay.fifo import FifoConfig
from agent_core.training.agent_learner import AgentLearner
from agent_core.training.schedule import ScheduleConfig
from agent_core.types import ActionSet, Box, ProblemSpec, Transition
from tests.support.transitions import a_transition

pytestmark = pytest.mark.learning

_LINE = ProblemSpec(state_dim=1, action_dim=1, max_actions=1, box=Box((-1.0,), (1.0,)))
_DISCOUNT = 0.5
_PLACES = np.linspace(-1, 1, 9, dtype=np.float32)


def _step(number: int, place: float, action: float) -> Transition:
    """A place on a line, moved by the action; being away from 0 costs, and so does moving.

    The value of the best policy is -P x^2 with P = 1 + y / (1 + y) and y = discount * P, and its action
    is -x y / (1 + y). With the discount 1/2, y is sqrt(1/2), and the gain is sqrt(2) - 1. One step
    ahead nobody would move at all.
    """
    return a_transition(
        decision_id=str(number),
        state=np.array([place], np.float32),
        actions=ActionSet(("box",), np.array([[action]], np.float32)),
        action=0,
        reward=-(place**2) - action**2,
        next_state=np.array([place + action], np.float32),
        next_actions=None,
        terminated=False,
        truncated=True,
    )


def _logged_steps() -> list[Transition]:
    generator = np.random.default_rng(0)
    places, actions = generator.uniform(-1.5, 1.5, 1000), generator.uniform(-1, 1, 1000)
    return [_step(n, p, a) for n, (p, a) in enumerate(zip(places, actions, strict=True))]


def _replayed(config: Any, updates: int, log: list[Transition], seed: int) -> BoxScorer:
    schedule = ScheduleConfig(batch_size=128, updates_per_transition=0, seed=seed)
    learner = AgentLearner(config, FifoConfig(capacity=2000), schedule, _LINE)
    learner.learn(log)
    learner.extra_updates(updates)
    assert isinstance(learner.policy, BoxPolicy)
    return learner.policy.scorer()


def _gain(scorer: BoxScorer) -> float:
    """The least-squares slope of the actions over the places."""
    actions = np.array([scorer.mean(np.array([place]))[0] for place in _PLACES])
    return float(-(actions @ _PLACES) / (_PLACES @ _PLACES))


_COMMON: dict[str, Any] = {"hidden": (64, 64), "discount": _DISCOUNT, "learning_rate": 3e-3}


@pytest.mark.parametrize(
    ("config", "updates"),
    [
        (DdpgConfig(**_COMMON, target_mix=0.05), 800),
        (Td3Config(**_COMMON, target_mix=0.05, smoothing=0.05), 1000),
        (SacConfig(**_COMMON, target_mix=0.05, initial_temperature=0.1), 600),
        (DistributionalSacConfig(**_COMMON, target_mix=0.05, initial_temperature=0.1), 600),
        (Td3BcConfig(**_COMMON, target_mix=0.05, smoothing=0.05, value_weight=100), 1000),
        (IqlConfig(**_COMMON, target_mix=0.05, expectile=0.95, inverse_temperature=30), 800),
    ],
    ids=lambda value: value.kind if hasattr(value, "kind") else "",
)
def test_the_gain_of_the_linear_regulator_is_found(config: Any, updates: int) -> None:
    scorer = _replayed(config, updates, _logged_steps(), seed=0)

    assert _gain(scorer) == pytest.approx(math.sqrt(2) - 1, abs=0.1)


def test_cloning_finds_the_mean_and_the_width_of_what_was_played() -> None:
    generator = np.random.default_rng(1)
    places = generator.uniform(-1, 1, 1000)
    actions = 0.3 - 0.5 * places + generator.normal(0, 0.1, 1000)
    log = [_step(n, p, a) for n, (p, a) in enumerate(zip(places, actions.clip(-1, 1), strict=True))]

    scorer = _replayed(ContinuousCloningConfig(hidden=(32,), learning_rate=0.01), 400, log, seed=0)

    assert _gain(scorer) == pytest.approx(0.5, abs=0.1)
    drawn = [scorer.draw(np.zeros(1, np.float32), seed)[0].item() for seed in range(500)]
    assert np.mean(drawn) == pytest.approx(0.3, abs=0.05)
    assert np.std(drawn) == pytest.approx(0.1, abs=0.03)


def test_ppo_finds_the_best_action_of_each_state_by_what_it_plays() -> None:
    schedule = ScheduleConfig(seed=0)
    config = ContinuousPpoConfig(hidden=(32,), learning_rate=3e-3, minibatch_size=128)
    learner = AgentLearner(config, EpisodicConfig(rollout_transitions=256), schedule, _LINE)
    generator = np.random.default_rng(2)

    for number in range(20):
        assert isinstance(learner.policy, BoxPolicy)
        learner.learn(_played(learner.policy.scorer(), generator, number))

    assert isinstance(learner.policy, BoxPolicy)
    scorer = learner.policy.scorer()
    actions = [scorer.mean(np.array([place]))[0] for place in _PLACES]
    np.testing.assert_allclose(actions, 0.8 * _PLACES, atol=0.15)


def _played(scorer: BoxScorer, generator: np.random.Generator, number: int) -> list[Transition]:
    """256 episodes of one step; the reward falls with the distance from 0.8 times the place."""
    steps = []
    for i in range(256):
        place = generator.uniform(-1, 1, 1).astype(np.float32)
        action, density = scorer.draw(place, int(generator.integers(2**63)))
        steps.append(
            a_transition(
                decision_id=f"{number}-{i}",
                episode_id=f"{number}-{i}",
                state=place,
                actions=ActionSet(("box",), action.reshape(1, 1)),
                action=0,
                reward=-abs(float(action[0]) - 0.8 * float(place[0])),
                propensity=density,
            )
        )
    return steps


def _target(action: float) -> float:
    """What an action pays: the less, the further it is from 0.6."""
    return -abs(action - 0.6)


@pytest.mark.parametrize(
    ("learner", "exploration"),
    [
        ({"kind": "td3"}, {"kind": "gaussian", "sigma": 0.3}),
        ({"kind": "sac", "initial_temperature": 0.05}, {"kind": "policy_sample"}),
        (
            {"kind": "td3"},
            {"kind": "warm_up", "transitions": 100, "then": {"kind": "gaussian", "sigma": 0.1}},
        ),
    ],
    ids=lambda part: part["kind"],
)
def test_what_an_agent_tries_shows_it_what_pays(
    learner: dict[str, Any], exploration: dict[str, Any]
) -> None:
    config = parse_agent_config(
        {
            "observation": {"kind": "none"},
            "actions": {"kind": "box", "low": [-1], "high": [1]},
            "policy_learner": {"hidden": [32], "learning_rate": 3e-3, "discount": 0} | learner,
            "exploration": exploration,
            "replay": {"kind": "fifo", "capacity": 1000},
            "schedule": {"batch_size": 32, "warmup_transitions": 32, "seed": 0},
        }
    )
    trained = AgentLearner(config.policy_learner, config.replay, config.schedule, config.spec)
    state = np.zeros(0, np.float32)

    for turn in range(20):
        agent = BoxAgent(config, trained.policy, experience=trained.experience)
        for number in range(20):
            decision = agent.act(state, seed=seed_of(f"{turn}-{number}", "t"))
            paid = _target(float(decision.action[0]))
            actions = ActionSet(("box",), decision.action.reshape(1, 1))
            step = a_transition(
                decision_id=f"{turn}-{number}",
                state=state,
                actions=actions,
                action=0,
                reward=paid,
                propensity=decision.density,
            )
            trained.learn([step])

    agent = BoxAgent(config, trained.policy, experience=trained.experience)
    assert agent.act(state, seed=0, explore=False).action[0] == pytest.approx(0.6, abs=0.15)


class _WorstQuarter:
    """The mean of the lowest quarter."""

    def of(self, quantiles: torch.Tensor) -> torch.Tensor:
        return quantiles[..., : quantiles.shape[-1] // 4].mean(-1)

    def of_numpy(self, quantiles: Any) -> Any:
        return quantiles[..., : quantiles.shape[-1] // 4].mean(-1)


def _bet(number: int, stake: float, luck: float) -> Transition:
    """A stake from -1 (nothing) to 1 (all), which on average wins as much as 2 per unit, or loses 8."""
    share = (stake + 1) / 2
    return a_transition(
        decision_id=str(number),
        state=np.zeros(1, np.float32),
        actions=ActionSet(("box",), np.array([[stake]], np.float32)),
        action=0,
        reward=share * (2 + 10 * luck),
    )


@pytest.mark.parametrize(("risk", "expected"), [(None, 1.0), (_WorstQuarter(), -1.0)])
def test_a_risk_measure_decides_whether_a_risky_bet_is_taken(risk: Any, expected: float) -> None:
    # The mean of a full stake is +2; the mean of its worst quarter, with normal luck, 2 - 12.7.
    generator = np.random.default_rng(3)
    stakes, luck = generator.uniform(-1, 1, 1000), generator.normal(0, 1, 1000)
    log = [_bet(n, s, x) for n, (s, x) in enumerate(zip(stakes, luck - luck.mean(), strict=True))]
    spec = ProblemSpec(1, 1, 1, risk=risk, box=Box((-1.0,), (1.0,)))
    config = DistributionalSacConfig(
        hidden=(32,), learning_rate=0.01, initial_temperature=0.1, quantiles=16
    )
    schedule = ScheduleConfig(batch_size=128, updates_per_transition=0, seed=0)
    learner = AgentLearner(config, FifoConfig(capacity=1000), schedule, spec)
    learner.learn(log)

    learner.extra_updates(500)

    assert isinstance(learner.policy, BoxPolicy)
    stake = learner.policy.scorer().mean(np.zeros(1, np.float32)).item()
    assert stake == pytest.approx(expected, abs=0.3)
