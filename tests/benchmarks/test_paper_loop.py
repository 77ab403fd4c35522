from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from agent_core.config import parse_agent_config
from agent_core.types import Floats
from benchmarks.paper import settings
from benchmarks.paper.environments.deep_sea import DeepSea
from benchmarks.paper.environments.wrappers import DeletesAction
from benchmarks.paper.loop import Session
from tests.support.learners import fingerprint


class Walk(gymnasium.Env[Floats, int]):
    """Counts its steps: observes 1, 2, 3...; ends or is cut after `length`. Rewards and costs are the count."""

    def __init__(self, length: int, *, is_cut: bool) -> None:
        self._length = length
        self._is_cut = is_cut
        self._at = 0
        self.observation_space = spaces.Box(0, 100, (1,), np.float32)
        self.action_space: spaces.Discrete[Any] = spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self._at = 1
        return np.ones(1, np.float32), {}

    def step(self, action: int) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        self._at += 1
        is_over = self._at > self._length
        reward = float(self._at)
        observed = np.full(1, self._at, np.float32)
        return (
            observed,
            reward,
            is_over and not self._is_cut,
            is_over and self._is_cut,
            {"cost": 2.0},
        )


def session(environment: gymnasium.Env[Any, Any], **changes: Any) -> Session:
    agent = settings.value_based(environment, "dqn", hidden=[8]) | changes
    return Session(parse_agent_config(agent), environment, seed=3, swap_steps=10)


def test_a_step_is_learned_from_when_the_next_one_is_decided() -> None:
    walk = session(Walk(3, is_cut=False))

    learned = []
    for _ in range(4):
        walk.step(keep=True)
        learned.append(walk.learner.experience)

    # The third step ends the episode, so it and the second are both complete.
    assert learned == [0, 1, 3, 3]


def test_transitions_say_what_came_next_and_how_it_ended() -> None:
    walk = session(Walk(2, is_cut=False))
    for _ in range(2):
        walk.step(keep=True)
    first, last = walk.transitions

    assert (first.state.tolist(), first.reward, first.cost) == ([1.0], 2.0, 2.0)
    assert first.next_state is not None
    assert first.next_state.tolist() == [2.0]
    assert first.next_action == last.action
    assert (first.episode_id, first.step, last.step) == (last.episode_id, 0, 1)
    assert (last.terminated, last.truncated, last.next_state) == (True, False, None)


def test_a_cut_episode_shows_what_would_have_come_next() -> None:
    walk = session(Walk(2, is_cut=True))
    for _ in range(2):
        walk.step(keep=True)
    last = walk.transitions[-1]

    assert (last.terminated, last.truncated, last.next_action) == (False, True, None)
    assert last.next_state is not None
    assert last.next_state.tolist() == [3.0]
    assert last.next_actions is not None
    assert len(last.next_actions) == 2


def test_episodes_are_added_up() -> None:
    walk = session(Walk(3, is_cut=False))
    for _ in range(7):
        walk.step()

    # Rewards 2 + 3 + 4, and a cost of 2 for each of three steps; the third episode is not over.
    assert [(one.end_step, one.steps, one.total, one.cost) for one in walk.episodes] == [
        (3, 3, 9.0, 6.0),
        (6, 3, 9.0, 6.0),
    ]


def test_only_available_actions_are_taken_and_bootstrapped_from() -> None:
    environment = DeletesAction(gymnasium.make("CartPole-v1"), 1)
    playing = session(environment, exploration={"kind": "epsilon_greedy", "epsilon": 1.0})
    for _ in range(200):
        playing.step(keep=True)

    for made in playing.transitions:
        assert len(made.actions) == (1 if made.step % 4 == 3 else 2)
        assert made.propensity == pytest.approx(1.0 / len(made.actions))
        if made.next_actions is not None:
            assert len(made.next_actions) == (1 if made.step % 4 == 2 else 2)


def test_what_acts_is_replaced_every_so_many_steps() -> None:
    sea = session(DeepSea(4), schedule={"batch_size": 4, "warmup_transitions": 4})
    for _ in range(99):
        sea.step()
    before = played_values(sea)

    sea.step()

    assert played_values(sea) != before


def played_values(sea: Session) -> list[float]:
    """What the acting version thinks of the two actions at the start."""
    first = np.zeros(16, np.float32)
    first[0] = 1.0
    acting: Any = sea._acting
    offered = acting.offered({})
    decision = acting._agent.act(first, offered, acting._agent.prepare(offered), seed=0)
    values: list[float] = decision.value.tolist()
    return values


def test_greedy_episodes_leave_the_learner_and_the_play_alone() -> None:
    watched, unwatched = session(Walk(5, is_cut=False)), session(Walk(5, is_cut=False))
    for one in (watched, unwatched):
        for _ in range(60):
            one.step()

    played = watched.greedy_episodes(Walk(5, is_cut=False), 3)
    for one in (watched, unwatched):
        for _ in range(60):
            one.step()

    assert [one.total for one in played] == [2.0 + 3 + 4 + 5 + 6] * 3
    assert watched.learner.experience == unwatched.learner.experience
    assert fingerprint(watched.learner.training_state()) == fingerprint(
        unwatched.learner.training_state()
    )


def test_the_same_seed_gives_the_same_session() -> None:
    sessions = [session(gymnasium.make("CartPole-v1")) for _ in range(2)]
    for one in sessions:
        for _ in range(150):
            one.step()

    first, second = (fingerprint(one.learner.training_state()) for one in sessions)
    assert first == second
    assert sessions[0].episodes == sessions[1].episodes


def test_in_a_box_what_came_next_is_the_action_that_was_taken() -> None:
    pendulum = gymnasium.make("Pendulum-v1")
    agent = settings.continuous(pendulum, "td3")
    playing = Session(parse_agent_config(agent), pendulum, seed=0, swap_steps=1)

    for _ in range(3):
        playing.step(keep=True)

    first, second = playing.transitions
    assert first.next_actions is not None
    assert first.next_actions.features.tolist() == second.actions.features.tolist()
    assert first.next_action == 0


def test_a_policy_over_sets_cannot_play_in_a_box() -> None:
    agent = settings.value_based(gymnasium.make("CartPole-v1"), "dqn")

    with pytest.raises(TypeError, match="use one kind"):
        Session(parse_agent_config(agent), gymnasium.make("Pendulum-v1"), seed=0, swap_steps=1)
