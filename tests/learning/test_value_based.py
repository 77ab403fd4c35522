"""Learners of action values on tasks whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from agent_core.agent import Agent, seed_of
from agent_core.config import AgentConfig, parse_agent_config
from agent_core.interfaces import Policy
from agent_core.training.agent_learner import AgentLearner
from agent_core.types import ActionSet, Doubles, Floats, Transition
from tests.support.learners import ragged
from tests.support.transitions import a_transition

pytestmark = pytest.mark.learning


def _config(observations: int, actions: int, learner: dict[str, Any], **agent: Any) -> AgentConfig:
    fields = {
        "observation": {"kind": "vector", "dim": observations},
        "actions": {"kind": "vector", "dim": actions},
        "policy_learner": learner,
        "exploration": {"kind": "epsilon_greedy", "epsilon": 0.1},
        "replay": {"kind": "fifo", "capacity": 10_000},
        "schedule": {"batch_size": 32, "updates_per_transition": 0, "seed": 1},
    }
    return parse_agent_config(fields | agent)


def _learner(config: AgentConfig) -> AgentLearner:
    return AgentLearner(config.policy_learner, config.replay, config.schedule, config.spec)


def _values(learner: AgentLearner, states: Sequence[Floats], sets: Sequence[ActionSet]) -> Doubles:
    assert isinstance(learner.policy, Policy)
    values = learner.policy.values(torch.from_numpy(np.stack(states)), ragged(sets))
    return values.double().numpy()


# -- a corridor: values of every step are known ---------------------------------------------------

_LENGTH, _DISCOUNT = 4, 0.8
_BOTH = ActionSet(("left", "right"), np.eye(2, dtype=np.float32))
_RIGHT_ONLY = ActionSet(("right",), np.eye(2, dtype=np.float32)[1:])


def _place(number: int) -> Floats:
    place: Floats = np.eye(_LENGTH, dtype=np.float32)[number]
    return place


def _available(place: int) -> ActionSet:
    """At the left end there is no going left."""
    return _BOTH if place else _RIGHT_ONLY


def _steps() -> list[Transition]:
    """Each step with each that may follow; leaving on the right pays 1 and ends the episode."""
    steps = []
    for place in range(_LENGTH):
        for action, name in enumerate(_available(place).ids):
            there = place + (1 if name == "right" else -1)
            is_out = there == _LENGTH
            onwards = [None] if is_out else range(len(_available(there)))
            steps += [_step(place, action, None if is_out else there, n) for n in onwards]
    return steps


def _step(place: int, action: int, there: int | None, following: int | None) -> Transition:
    return a_transition(
        decision_id=f"{place}-{action}-{following}",
        state=_place(place),
        actions=_available(place),
        action=action,
        reward=float(there is None),
        next_state=None if there is None else _place(there),
        next_actions=None if there is None else _available(there),
        next_action=following,
        terminated=there is None,
    )


def _corridor_values(learner: dict[str, Any], updates: int = 800) -> list[float]:
    """Of right at place 0, then of left and right at each of the others."""
    settings = {"hidden": [32], "discount": _DISCOUNT, "learning_rate": 5e-3, "target_mix": 0.1}
    trained = _learner(_config(_LENGTH, 2, settings | learner))
    trained.learn(_steps())
    trained.extra_updates(updates)
    places = range(_LENGTH)
    return list(_values(trained, [_place(p) for p in places], [_available(p) for p in places]))


def _discounted_distances() -> list[float]:
    """The end is _LENGTH - p steps from place p; going left first adds two."""
    right = [_DISCOUNT ** (_LENGTH - 1 - p) for p in range(_LENGTH)]
    left = [_DISCOUNT ** (_LENGTH + 1 - p) for p in range(1, _LENGTH)]
    return [right[0], *(v for pair in zip(left, right[1:], strict=True) for v in pair)]


@pytest.mark.parametrize(
    "learner",
    [
        {"kind": "dqn"},
        {"kind": "dqn", "double": True},
        {"kind": "dqn", "dueling": True},
        {"kind": "cql", "alpha": 0},
        {"kind": "qr_dqn", "quantiles": 8},
        {"kind": "iqn", "quantiles": 8},
        {"kind": "bootstrapped_dqn", "members": 4, "learning_share": 1.0},
        {"kind": "epinet", "members": 4},
    ],
    ids=lambda learner: "-".join(map(str, learner.values())),
)
def test_values_of_a_corridor_are_discounted_distances_to_its_end(learner: dict[str, Any]) -> None:
    assert _corridor_values(learner) == pytest.approx(_discounted_distances(), abs=0.03)


def test_sarsa_values_going_on_at_random() -> None:
    # With the discount 0.8 and places a, b, c, d, the means m of each place's actions solve
    # m_a = 0.8 m_b, m_b = 0.4 (m_a + m_c), m_c = 0.4 (m_b + m_d), m_d = 0.4 m_c + 0.5:
    # m_b = 0.4 m_c / 0.68, so m_d = (m_c - 0.4 m_b) / 0.4 = 1.91176 m_c, m_c = 0.5 / 1.51176.
    m_c = 0.33074
    m_b, m_d = 0.58824 * m_c, 1.91176 * m_c
    expected = [0.8 * m for m in (m_b, 0.8 * m_b, m_c, m_b, m_d, m_c)] + [1.0]

    assert _corridor_values({"kind": "deep_sarsa"}) == pytest.approx(expected, abs=0.05)


# -- three risky arms -----------------------------------------------------------------------------

# Each pays one of two rewards, equally often. Means 1.5, 1.35, 1.15; variances 3.61, 0.36, 0.
_ARMS = ((-0.4, 3.4), (0.75, 1.95), (1.15, 1.15))


def _preferred_arm(learner: dict[str, Any], safety: dict[str, Any]) -> int:
    config = _config(
        1, 3, learner | {"hidden": [32], "learning_rate": 5e-3, "target_mix": 0.05}, safety=safety
    )
    trained = _learner(config)
    arms, state = ActionSet(("a", "b", "c"), np.eye(3, dtype=np.float32)), np.ones(1, np.float32)
    for number, rewards in enumerate(_ARMS):
        for reward in rewards:
            trained.learn([a_transition(state=state, actions=arms, action=number, reward=reward)])
    trained.extra_updates(800)
    return int(_values(trained, [state], [arms]).argmax())


@pytest.mark.parametrize("kind", ["qr_dqn", "iqn"])
@pytest.mark.parametrize(
    ("safety", "best"),
    [
        # 1.5, 1.35, 1.15 without fear; 1.139, 1.314, 1.15 at 0.1; -2.11, 0.99, 1.15 at 1.
        ({"kind": "mean_variance", "beta": 0}, 0),
        ({"kind": "mean_variance", "beta": 0.1}, 1),
        ({"kind": "mean_variance", "beta": 1}, 2),
        # All of it as without fear; the worse half: -0.4, 0.75, 1.15.
        ({"kind": "cvar", "alpha": 1}, 0),
        ({"kind": "cvar", "alpha": 0.5}, 2),
        # The lower quartile: -0.4, 0.75, 1.15; the upper one: 3.4, 1.95, 1.15.
        ({"kind": "var", "alpha": 0.25}, 2),
        ({"kind": "var", "alpha": 0.75}, 0),
        # The lower reward counts Phi(0.25) = 0.5987 or Phi(0.75) = 0.7734: 1.125, 1.232, 1.15, and
        # 0.461, 1.022, 1.15.
        ({"kind": "wang", "eta": -0.25}, 1),
        ({"kind": "wang", "eta": -0.75}, 2),
    ],
    ids=str,
)
def test_the_arm_is_chosen_that_the_risk_measure_asks_for(
    kind: str, safety: dict[str, Any], best: int
) -> None:
    assert _preferred_arm({"kind": kind, "quantiles": 20}, safety) == best


@pytest.mark.parametrize("kind", ["qr_dqn", "iqn"])
@pytest.mark.parametrize(("eta", "is_bought"), [(1.0, False), (0.71, True)])
def test_a_lottery_is_bought_by_whom_rare_prizes_count_more_to(
    kind: str, eta: float, is_bought: bool
) -> None:
    # A ticket pays 4 once in 10 times, and keeping the price is worth 0.6: more than 0.4. With
    # h(0.9) = 0.9280 / (0.9280 + 0.1950)^(1 / 0.71) = 0.788 the prize counts for 0.212 of 4: 0.847.
    settings = {"kind": kind, "hidden": [32], "learning_rate": 5e-3, "target_mix": 0.05}
    trained = _learner(
        _config(1, 2, settings | {"quantiles": 20}, safety={"kind": "cpw", "eta": eta})
    )
    choices, state = ActionSet(("ticket", "keep"), np.eye(2, dtype=np.float32)), np.ones(1, "f4")
    for paid in (4.0, *[0.0] * 9):
        for action, reward in enumerate((paid, 0.6)):
            step = a_transition(state=state, actions=choices, action=action, reward=reward)
            trained.learn([step])

    trained.extra_updates(800)

    ticket, keep = _values(trained, [state], [choices])
    assert (ticket > keep) == is_bought


@pytest.mark.parametrize("kind", ["qr_dqn", "iqn"])
def test_the_worst_quarter_of_a_coin_between_zero_and_one_is_near_zero(kind: str) -> None:
    settings = {"kind": kind, "hidden": [32], "learning_rate": 5e-3, "target_mix": 0.05}
    trained = _learner(_config(1, 1, settings, safety={"kind": "cvar", "alpha": 0.25}))
    coin, state = ActionSet(("toss",), np.ones((1, 1), np.float32)), np.ones(1, np.float32)
    for reward in (0.0, 1.0):
        trained.learn([a_transition(state=state, actions=coin, action=0, reward=reward)])

    trained.extra_updates(800)

    assert abs(_values(trained, [state], [coin])[0]) < 0.1


# -- data without a certain action ----------------------------------------------------------------


def test_conservative_q_learning_hopes_for_nothing_that_the_data_does_not_show() -> None:
    # One action of five was ever taken, and paid -1; nothing is known of the others.
    actions = ActionSet(tuple("abcde"), np.eye(5, dtype=np.float32))
    state = np.ones(1, np.float32)
    logged = a_transition(state=state, actions=actions, action=2, reward=-1.0)
    margins = []
    for kind in ("dqn", "cql"):
        trained = _learner(_config(1, 5, {"kind": kind, "target_mix": 1.0}))
        trained.learn([logged] * 10)
        trained.extra_updates(200)
        values = _values(trained, [state], [actions])
        margins.append(values[2] - np.delete(values, 2).max())

    assert margins[0] < 0.5
    assert margins[1] > 2.0


# -- a deep sea: reward is far, and every step towards it costs -----------------------------------

_DEPTH = 6
_MOVES = np.eye(2, dtype=np.float32)


def _cell(row: int, column: int) -> Floats:
    cell = np.zeros(_DEPTH * _DEPTH, np.float32)
    cell[row * _DEPTH + column] = 1.0
    return cell


def _treasures(config: AgentConfig, episodes: int) -> int:
    """In how many of the last 50 of `episodes` the treasure was reached (Osband et al. 2019, deep sea)."""
    learner, found = _learner(config), 0
    agent = Agent(config, learner.policy, experience=0)
    swapped = np.random.Generator(np.random.PCG64(5)).random((_DEPTH, _DEPTH)) < 0.5
    actions = ActionSet(("0", "1"), _MOVES)
    for episode in range(episodes):
        column, lived = 0, []
        for row in range(_DEPTH):
            state = _cell(row, column)
            seed = seed_of(f"{episode}-{row}", "sea")
            decision = agent.act(
                state, actions, agent.prepare(actions), seed=seed, episode=seed_of(str(episode), "")
            )
            is_right = bool(decision.index) != bool(swapped[row, column])
            is_last, at = row == _DEPTH - 1, column
            column = min(column + 1, _DEPTH - 1) if is_right else max(column - 1, 0)
            treasure = is_last and is_right and at == _DEPTH - 1
            found += treasure and episode >= episodes - 50
            lived.append(
                a_transition(
                    decision_id=f"{episode}-{row}",
                    state=state,
                    actions=actions,
                    action=decision.index,
                    reward=float(treasure) - (0.01 / _DEPTH if is_right else 0.0),
                    next_state=None if is_last else _cell(row + 1, column),
                    next_actions=None if is_last else actions,
                    terminated=is_last,
                )
            )
        learner.learn(lived)
        agent = Agent(config, learner.policy, experience=learner.experience)
    return found


def _sea(learner: dict[str, Any], exploration: dict[str, Any]) -> AgentConfig:
    settings = {"hidden": [32], "learning_rate": 5e-3, "target_mix": 0.2}
    schedule = {"batch_size": 32, "updates_per_transition": 1, "warmup_transitions": 64, "seed": 0}
    return _config(
        _DEPTH * _DEPTH, 2, settings | learner, exploration=exploration, schedule=schedule
    )


def test_members_that_keep_to_one_opinion_find_what_chance_steps_do_not() -> None:
    # Of the schedule's seeds 0 to 5 the members found it for good in all, and DQN by luck in one.
    deep = _sea({"kind": "bootstrapped_dqn"}, {"kind": "deep"})
    greedy = _sea({"kind": "dqn"}, {"kind": "epsilon_greedy", "epsilon": 0.1})

    assert _treasures(greedy, 250) < 5
    assert _treasures(deep, 300) > 40


def test_opinions_of_an_epinet_find_it_too() -> None:
    # With each of the schedule's seeds 0 to 9 it was found in all of the last 50 episodes.
    config = _sea({"kind": "epinet", "hidden": [128]}, {"kind": "deep"})

    assert _treasures(config, 250) > 40
