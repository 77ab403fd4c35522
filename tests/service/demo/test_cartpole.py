"""Episodes: what is asked, what is reported, and how an episode ends."""

from __future__ import annotations

from typing import Any

import gymnasium
import pytest
from nacre_client import ChosenAction, Decision

from service.demo.cartpole import EpisodesDemo, Seat
from service.policies.config import parse_policy


def decision(index: int, decision_id: str = "d") -> Decision:
    return Decision(decision_id, "cartpole", ChosenAction("left", index), 0.5, "policy")


@pytest.fixture
def seat() -> Seat:
    seat = Seat(gymnasium.make("CartPole-v1", max_episode_steps=5), "seat-0")
    seat.begin(seed=0)
    return seat


def test_each_step_sends_where_it_stands_and_what_came_before(seat: Seat) -> None:
    first = seat.request(["left", "right"])
    seat.take(decision(0, "seat-0-1-0"))

    second = seat.request(["left", "right"])

    assert first["decision_id"] == "seat-0-1-0"
    assert first["episode"] == {"episode_id": "seat-0-1", "step": 0}
    assert second["episode"] == {
        "episode_id": "seat-0-1",
        "step": 1,
        "previous_decision_id": "seat-0-1-0",
    }
    assert second["observation"] != first["observation"]


def test_a_pole_that_falls_terminates_the_episode() -> None:
    seat = Seat(gymnasium.make("CartPole-v1"), "seat-0")
    seat.begin(seed=0)

    ends = [seat.take(decision(0))[1]]
    while ends[-1] is None:
        ends.append(seat.take(decision(0))[1])

    # Pushed to one side only, it falls within a dozen steps.
    assert ends[-1] == "terminated"
    assert len(ends) < 15


def test_a_time_limit_truncates_the_episode(seat: Seat) -> None:
    ends = [seat.take(decision(step % 2))[1] for step in range(5)]

    assert ends == [None, None, None, None, "truncated"]
    assert seat.total == 5.0


def test_every_episode_has_an_id_of_its_own(seat: Seat) -> None:
    before = seat.episode_id
    seat.take(decision(0))

    seat.begin()

    assert seat.episode_id != before
    assert seat.step == 0
    assert "previous_decision_id" not in _place(seat)


def _place(seat: Seat) -> Any:
    return seat.request(["left"])["episode"]


def test_another_environment_gets_a_policy_of_its_sizes() -> None:
    demo = EpisodesDemo("Acrobot-v1", requests=None, seed=0)

    agent = parse_policy(demo.policy()).agent

    # Six numbers to observe; three torques and a slot for unknown ids.
    assert (agent.spec.state_dim, agent.spec.action_dim, agent.spec.max_actions) == (6, 4, 3)


@pytest.mark.parametrize(
    ("environment", "why"),
    [("CartPoles-v1", "CartPole"), ("Pendulum-v1", "Discrete"), ("Blackjack-v1", "Box")],
)
def test_what_cannot_be_played_is_refused_with_a_reason(environment: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        EpisodesDemo(environment, requests=None, seed=0)
