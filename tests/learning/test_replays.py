"""What each way of replaying is for, on tasks where plain replay is too slow or has nothing to learn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from agent_core.interfaces import Policy
from agent_core.policy_learners.bandits.neural import NeuralConfig
from agent_core.policy_learners.value_based.dqn import DqnConfig
from agent_core.registry import AnyReplay
from agent_core.training.agent_learner import AgentLearner
from agent_core.training.schedule import ScheduleConfig
from agent_core.types import ActionSet, Doubles, Floats, ProblemSpec, Transition
from tests.support.learners import ragged
from tests.support.transitions import a_transition

pytestmark = pytest.mark.learning

_ON_REQUEST = ScheduleConfig(batch_size=32, updates_per_transition=0, seed=1)


def _replay(kind: str, **fields: Any) -> Any:
    return TypeAdapter(AnyReplay).validate_python({"kind": kind, "capacity": 2000} | fields)


def _values(learner: AgentLearner, states: list[Floats], actions: ActionSet) -> Doubles:
    """`[B, A]`: what the same actions are worth in each state."""
    assert isinstance(learner.policy, Policy)
    values = learner.policy.values(
        torch.from_numpy(np.stack(states)), ragged([actions] * len(states))
    )
    return values.detach().double().numpy().reshape(len(states), -1)


# -- several steps at once: rewards travel faster ---------------------------------------------------

_LENGTH, _DISCOUNT = 6, 0.9
_ON = ActionSet(("on",), np.ones((1, 1), np.float32))


def _place(number: int) -> Floats:
    place: Floats = np.eye(_LENGTH, dtype=np.float32)[number]
    return place


def _walk() -> list[Transition]:
    """Through a corridor of six places; leaving it pays 1."""
    return [
        a_transition(
            decision_id=str(step),
            episode_id="walk",
            step=step,
            state=_place(step),
            actions=_ON,
            action=0,
            reward=float(step == _LENGTH - 1),
            next_state=None if step == _LENGTH - 1 else _place(step + 1),
            next_actions=None if step == _LENGTH - 1 else _ON,
            terminated=step == _LENGTH - 1,
        )
        for step in range(_LENGTH)
    ]


def _fresh_and_after_one_target(replay: Any) -> tuple[Doubles, Doubles]:
    """`[6]` each: what every place is worth at first, and when the target network was copied once, after 200
    updates. Until then targets are made of what was thought at first, which knows of no reward."""
    config = DqnConfig(
        hidden=(32,),
        discount=_DISCOUNT,
        learning_rate=5e-3,
        target_mix=1.0,
        target_period_updates=200,
    )
    learner = AgentLearner(config, replay, _ON_REQUEST, ProblemSpec(_LENGTH, 1, 1))
    places = [_place(number) for number in range(_LENGTH)]
    fresh = _values(learner, places, _ON)[:, 0]
    learner.learn(_walk())
    learner.extra_updates(200)
    return fresh, _values(learner, places, _ON)[:, 0]


@pytest.mark.parametrize("kind", ["n_step", "prioritized"])
def test_over_several_steps_the_first_place_hears_of_the_reward_at_once(kind: str) -> None:
    _, far = _fresh_and_after_one_target(_replay(kind, steps=_LENGTH, discount=_DISCOUNT))
    fresh, near = _fresh_and_after_one_target(_replay("fifo"))

    # The reward is 1, as many steps away as there are places ahead. Step by step only the last place sees it.
    np.testing.assert_allclose(far, _DISCOUNT ** np.arange(_LENGTH - 1, -1, -1.0), atol=0.05)
    np.testing.assert_allclose(near, [*_DISCOUNT * fresh[1:], 1.0], atol=0.05)


# -- priorities: what is rare and surprising is learned --------------------------------------------

_USUAL, _RARE = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)


def _one_in_five_hundred() -> list[Transition]:
    """Nothing is ever paid, but once, in a state that was never seen before or after."""
    usual = [
        a_transition(decision_id=str(number), state=_USUAL, actions=_ON, action=0, reward=0.0)
        for number in range(499)
    ]
    return [
        a_transition(decision_id="rare", state=_RARE, actions=_ON, action=0, reward=1.0),
        *usual,
    ]


def _worth_of_the_rare(replay: Any) -> float:
    """After 120 updates of 8: each of the 500 transitions is drawn twice, where all are drawn alike."""
    config = NeuralConfig(hidden=(16,), learning_rate=0.01)
    schedule = ScheduleConfig(batch_size=8, updates_per_transition=0, updates_at_once=1, seed=1)
    learner = AgentLearner(config, replay, schedule, ProblemSpec(2, 1, 1))
    learner.learn(_one_in_five_hundred())
    learner.extra_updates(120)
    return float(_values(learner, [_RARE], _ON)[0, 0])


def test_with_priorities_a_rare_surprise_is_learned_while_plain_replay_has_hardly_drawn_it() -> (
    None
):
    # Full correction would undo what is shown here: the row would weigh as little as it is drawn often.
    fields = {"alpha": 1.0, "beta": 0.0, "anneal_updates": 1_000_000}

    with_priorities = _worth_of_the_rare(_replay("prioritized", **fields))
    without = _worth_of_the_rare(_replay("fifo"))

    # Of the schedule's seeds 1 to 3: 1.01, 0.98, 0.99 with, and 0.48, 0.22, 0.28 without.
    assert with_priorities == pytest.approx(1.0, abs=0.1)
    assert without < 0.6


# -- hindsight: a goal that is never reached teaches how to reach others ---------------------------

_BOTH = ActionSet(("left", "right"), np.array([[-1.0], [1.0]], np.float32))
_UNREACHABLE = 9.0


def _at(place: float, goal: float) -> Floats:
    return np.array([goal, place], np.float32)


def _strolls(count: int) -> list[Transition]:
    """Walks of four steps by chance from place 0, all of which miss the goal, as the log says: -1 each."""
    generator, steps = np.random.default_rng(0), []
    for episode in range(count):
        place = 0.0
        for step in range(4):
            action = int(generator.integers(2))
            there = place + (1 if action else -1)
            steps.append(
                a_transition(
                    decision_id=f"{episode}-{step}",
                    episode_id=str(episode),
                    step=step,
                    state=_at(place, _UNREACHABLE),
                    actions=_BOTH,
                    action=action,
                    reward=-1.0,
                    next_state=_at(there, _UNREACHABLE),
                    next_actions=_BOTH,
                    terminated=False,
                    truncated=step == 3,
                )
            )
            place = there
    return steps


def _share_of_good_directions(replay: Any) -> float:
    """For how many of the pairs of a place and a goal from -2 to 2 the policy heads for the goal."""
    config = DqnConfig(hidden=(64,), discount=0.9, learning_rate=3e-3, target_mix=0.1)
    learner = AgentLearner(config, replay, _ON_REQUEST, ProblemSpec(2, 1, 2))
    learner.learn(_strolls(80))
    learner.extra_updates(500)
    pairs = [(p, g) for p in range(-2, 3) for g in range(-2, 3) if p != g]
    values = _values(learner, [_at(place, goal) for place, goal in pairs], _BOTH)
    wanted = [int(goal > place) for place, goal in pairs]
    return float((values.argmax(1) == wanted).mean())


def test_hindsight_learns_to_reach_goals_from_walks_that_all_missed_theirs() -> None:
    where = {"goal_at": 0, "achieved_at": 1, "goal_size": 1, "tolerance": 0.1}

    with_hindsight = _share_of_good_directions(_replay("hindsight", **where))
    without = _share_of_good_directions(_replay("fifo"))

    assert with_hindsight > 0.9
    assert without < 0.75
