"""Actors on a corridor whose best policy is known, with fewer actions at its left end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from agent_core.agent import Agent, seed_of
from agent_core.config import parse_agent_config
from agent_core.exploration.propensity import PropensityConfig
from agent_core.functional.choice import sample
from agent_core.interfaces import Policy, Scorer
from agent_core.policy_learners.actor_critic.discrete_sac import DiscreteSacConfig
from agent_core.policy_learners.actor_critic.ppo import PpoConfig
from agent_core.policy_learners.actor_critic.reinforce import ReinforceConfig
from agent_core.policy_learners.offline.behaviour_cloning import BehaviourCloningConfig
from agent_core.policy_learners.offline.discrete_iql import DiscreteIqlConfig
from agent_core.replay.episodic import EpisodicConfig
from agent_core.replay.fifo import FifoConfig
from agent_core.training.agent_learner import AgentLearner
from agent_core.training.schedule import ScheduleConfig
from agent_core.types import ActionSet, Doubles, Floats, ProblemSpec, Transition
from tests.support.learners import action_set, ragged
from tests.support.transitions import a_transition

pytestmark = pytest.mark.learning

_LENGTH, _DISCOUNT, _PATIENCE = 5, 0.9, 20
_SPEC = ProblemSpec(state_dim=_LENGTH, action_dim=2, max_actions=2)
_BOTH = ActionSet(("left", "right"), np.eye(2, dtype=np.float32))
_RIGHT_ONLY = ActionSet(("right",), np.eye(2, dtype=np.float32)[1:])


def _place(number: int) -> Floats:
    place: Floats = np.eye(_LENGTH, dtype=np.float32)[number]
    return place


def _available(place: int) -> ActionSet:
    """At the left end there is no going left."""
    return _BOTH if place else _RIGHT_ONLY


def _step(place: int, index: int, propensity: float, **where: Any) -> tuple[int, Transition]:
    """The place after one step; leaving the corridor on the right pays 1 and ends the episode."""
    actions = _available(place)
    there = place + (1 if actions.ids[index] == "right" else -1)
    is_out = there == _LENGTH
    return there, a_transition(
        decision_id=f"{where['episode_id']}-{where['step']}",
        state=_place(place),
        actions=actions,
        action=index,
        reward=float(is_out),
        next_state=None if is_out else _place(there),
        next_actions=None if is_out else _available(there),
        terminated=is_out,
        truncated=not is_out and where["step"] == _PATIENCE - 1,
        propensity=propensity,
        **where,
    )


def _episode(scorer: Scorer | None, number: int, seed: int = 0) -> Iterator[Transition]:
    """One episode from place 0, played by the policy's own distribution; evenly, without a policy."""
    generator = np.random.default_rng([seed, number])
    place = 0
    for step in range(_PATIENCE):
        probabilities = _probabilities(scorer, place)
        index = sample(probabilities, generator.random())
        where = {"episode_id": str(number), "step": step}
        place, transition = _step(place, index, float(probabilities[index]), **where)
        yield transition
        if place == _LENGTH:
            return


def _probabilities(scorer: Scorer | None, place: int) -> Doubles:
    actions = _available(place)
    if scorer is None:
        return np.full(len(actions), 1 / len(actions))
    scores = scorer.score(_place(place), scorer.prepare(actions.features))
    return PropensityConfig().build().probabilities(scores, experience=0, seed=0)


def _rightwards(learner: AgentLearner) -> list[float]:
    """How likely the policy goes right at each place with a choice."""
    assert isinstance(learner.policy, Policy)
    scorer = learner.policy.scorer()
    return [float(_probabilities(scorer, place)[1]) for place in range(1, _LENGTH)]


@pytest.mark.parametrize(
    "config",
    [
        ReinforceConfig(hidden=(32,), discount=_DISCOUNT, learning_rate=1e-2),
        ReinforceConfig(hidden=(32,), discount=_DISCOUNT, learning_rate=1e-2, has_baseline=False),
        PpoConfig(hidden=(32,), discount=_DISCOUNT, learning_rate=5e-3, critic_learning_rate=1e-2),
    ],
    ids=["reinforce", "reinforce without a baseline", "ppo"],
)
def test_an_actor_that_learns_from_its_own_episodes_learns_to_leave(config: Any) -> None:
    memory = EpisodicConfig(rollout_transitions=128)
    learner = AgentLearner(config, memory, ScheduleConfig(seed=1), _SPEC)

    for number in range(400):
        assert isinstance(learner.policy, Policy)
        learner.learn(list(_episode(learner.policy.scorer(), number)))

    assert min(_rightwards(learner)) > 0.9


def test_a_soft_actor_critic_learns_to_leave_and_keeps_the_entropy_it_was_asked_for() -> None:
    config = DiscreteSacConfig(
        hidden=(32,), discount=_DISCOUNT, learning_rate=3e-3, temperature_learning_rate=1e-2,
        target_mix=0.05, target_entropy_share=0.2,
    )  # fmt: skip
    schedule = ScheduleConfig(batch_size=32, updates_per_transition=1, seed=1)
    learner = AgentLearner(config, FifoConfig(capacity=5000), schedule, _SPEC)

    for number in range(150):
        assert isinstance(learner.policy, Policy)
        learner.learn(list(_episode(learner.policy.scorer(), number)))

    right = _rightwards(learner)
    entropy = [-p * math.log(p) - (1 - p) * math.log(1 - p) for p in right]
    assert min(right) > 0.8
    assert np.mean(entropy) == pytest.approx(0.2 * math.log(2), abs=0.1)


def test_cloning_finds_the_shares_of_the_log() -> None:
    # Right in 3 of 4 steps at every place with a choice.
    log = [
        _step(place, int(number % 4 > 0), 0.5, episode_id=f"{place}-{number}", step=0)[1]
        for place in range(1, _LENGTH)
        for number in range(40)
    ]
    config = BehaviourCloningConfig(hidden=(32,), learning_rate=1e-2)
    schedule = ScheduleConfig(batch_size=64, updates_per_transition=0, seed=1)
    learner = AgentLearner(config, FifoConfig(capacity=1000), schedule, _SPEC)

    learner.learn(log)
    learner.extra_updates(400)

    assert _rightwards(learner) == pytest.approx([0.75] * 4, abs=0.1)


def test_implicit_q_learning_does_better_than_the_aimless_log_it_learned_from() -> None:
    config = DiscreteIqlConfig(
        hidden=(32,), discount=_DISCOUNT, learning_rate=3e-3, target_mix=0.05,
        expectile=0.9, inverse_temperature=20.0,
    )  # fmt: skip
    schedule = ScheduleConfig(batch_size=64, updates_per_transition=0, seed=1)
    learner = AgentLearner(config, FifoConfig(capacity=5000), schedule, _SPEC)

    learner.learn([t for number in range(60) for t in _episode(None, number)])
    learner.extra_updates(1000)

    assert min(_rightwards(learner)) > 0.85


def test_a_policy_that_knew_two_actions_is_certain_where_one_is_left() -> None:
    policy = PpoConfig().build_policy(_SPEC)

    scorer = policy.scorer()

    assert _probabilities(scorer, 0).tolist() == [1.0]
    states = torch.from_numpy(np.stack([_place(0), _place(1)]))
    assert policy.values(states, ragged([_RIGHT_ONLY, _BOTH])).shape == (3,)


def test_a_composed_agent_learns_which_of_ever_new_actions_points_where_the_state_does() -> None:
    config = parse_agent_config(
        {
            "observation": {"kind": "vector", "dim": 2},
            "actions": {"kind": "vector", "dim": 2},
            "policy_learner": {"kind": "ppo", "hidden": [32], "learning_rate": 0.01},
            "exploration": {"kind": "propensity"},
            "replay": {"kind": "episodic", "rollout_transitions": 200},
            "schedule": {"seed": 1},
        }
    )
    learner = AgentLearner(config.policy_learner, config.replay, config.schedule, config.spec)
    generator = np.random.default_rng(1)
    shares = []

    for rollout in range(20):
        assert isinstance(learner.policy, Policy)
        agent = Agent(config, learner.policy, experience=learner.experience)
        played = [_bandit_step(agent, generator, f"{rollout}-{n}") for n in range(200)]
        learner.learn([transition for transition, _ in played])
        shares.append(np.mean([is_best for _, is_best in played]))

    # Of two to four actions, by chance 1/2, 1/3 or 1/4: 0.36 on average.
    assert shares[0] < 0.5
    assert np.mean(shares[-3:]) > 0.75


def _bandit_step(
    agent: Agent, generator: np.random.Generator, name: str
) -> tuple[Transition, bool]:
    """One decision, and whether it was the best: the reward is the product of state and features."""
    state = generator.standard_normal(2).astype(np.float32)
    actions = action_set(generator, int(generator.integers(2, 5)))
    rewards = actions.features @ state
    decision = agent.act(state, actions, agent.prepare(actions), seed=seed_of(name, "t"))
    transition = a_transition(
        decision_id=name,
        state=state,
        actions=actions,
        action=decision.index,
        reward=float(rewards[decision.index]),
        propensity=decision.propensity,
    )
    return transition, bool(decision.index == rewards.argmax())
