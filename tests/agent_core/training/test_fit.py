"""What a learner refuses, with everything that is wrong, before it learns anything of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agent_core.errors import TransitionError
from agent_core.functional.blocks import part
from agent_core.policy_learners.value_based.dqn import DqnConfig
from agent_core.training.collate import block_of
from agent_core.training.fit import are_finite, check_fits, fits
from agent_core.types import ActionSet, Box, Embedding, ProblemSpec
from tests.support.learners import SPEC, agent_learner, fingerprint, made_up
from tests.support.transitions import a_transition

_SETS = ProblemSpec(state_dim=2, action_dim=3, max_actions=10)
_BOX = ProblemSpec(state_dim=2, action_dim=3, max_actions=1, box=Box((0.0,) * 3, (1.0,) * 3))


def _set(*ids: str, dim: int = 3) -> ActionSet:
    return ActionSet(ids, np.zeros((len(ids), dim), np.float32))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"state": np.zeros(3, np.float32)}, r"state has the shape \(3,\), expected \(2,\)"),
        ({"next_state": np.zeros((1, 2), np.float32)}, r"next_state has the shape \(1, 2\)"),
        ({"actions": _set("a", "b", dim=2)}, r"actions has features \(2, 2\), expected \(2, 3\)"),
        ({"actions": _set("a", "b", "a")}, "actions lists 'a' more than once"),
        ({"next_actions": _set("x", "x")}, "next_actions lists 'x' more than once"),
        ({"action": 3}, "action is 3, expected 0 to 2"),
        ({"action": -1}, "action is -1, expected 0 to 2"),
        ({"actions": _set(), "action": 0}, "action is 0, there are no actions to choose from"),
        ({"next_action": 0}, "next_action is 0, there are no actions to choose from"),
        ({"propensity": 0.0}, "propensity is 0, expected above 0, up to 1; send the probability"),
        ({"propensity": 1.5}, "propensity is 1.5"),
        ({"step": -1}, "step is -1, expected 0 or more; count from 0"),
    ],
)
def test_a_transition_that_does_not_fit_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(TransitionError, match=problem):
        check_fits(a_transition(**changes), _SETS)


@pytest.mark.parametrize(
    "changes",
    [
        {"state": np.zeros(3, np.float32)},
        {"actions": _set("a", "b", dim=2)},
        {"actions": _set("a", "b", "a")},
        {"action": 3},
        {"actions": _set(), "action": 0},
        {"next_action": 0},
        {"propensity": 0.0},
        {"step": -1},
    ],
)
def test_a_refusal_says_what_was_found_and_what_to_do(changes: dict[str, Any]) -> None:
    with pytest.raises(TransitionError) as caught:
        check_fits(a_transition(**changes), _SETS)

    for problem in caught.value.problems:
        found, fix = problem.split("; ")
        assert "expected" in found or "there are no actions" in found
        assert fix.split()[0] in {"send", "encode", "keep", "count"}


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(TransitionError) as caught:
        check_fits(a_transition(state=np.zeros(0, np.float32), action=9, step=-2), _SETS)

    assert len(caught.value.problems) == 3
    assert str(caught.value).startswith("transition 'd-1': ")


def test_a_transition_that_fits_passes() -> None:
    check_fits(a_transition(next_actions=_set("x"), next_action=0), _SETS)


def test_a_continuous_action_comes_alone_and_has_a_density() -> None:
    check_fits(a_transition(actions=_set("box"), action=0, propensity=7.0), _BOX)
    with pytest.raises(TransitionError, match="actions are 2, expected 1; send the one action"):
        check_fits(a_transition(actions=_set("a", "b"), action=0), _BOX)


@pytest.mark.parametrize("position", [-1.0, 4.0, 1.5, np.nan])
def test_an_embedded_id_has_one_of_the_positions(position: float) -> None:
    spec = ProblemSpec(2, 3, 10, embedding=Embedding(rows=4, dim=2))
    actions = _set("a")
    actions.features[0, 0] = position

    with pytest.raises(TransitionError, match=f"position {position:g}, expected .* 0 to 3; encode"):
        check_fits(a_transition(actions=actions, action=0), spec)


def test_nothing_is_learned_of_transitions_of_which_one_does_not_fit() -> None:
    learner, other = agent_learner(DqnConfig()), agent_learner(DqnConfig())
    bad = a_transition(state=np.zeros(1, np.float32))

    with pytest.raises(TransitionError):
        learner.learn([*made_up(10), bad, *made_up(5, seed=1)])

    assert fingerprint(learner.training_state()) == fingerprint(other.training_state())


def test_a_block_that_was_made_for_another_problem_is_refused() -> None:
    # One of SPEC is 3 and 2 wide, these are 2 and 3.
    learner = agent_learner(DqnConfig())
    block = block_of([a_transition()], _SETS)

    with pytest.raises(TransitionError) as caught:
        learner.learn(block)

    assert [problem.partition(";")[0] for problem in caught.value.problems] == [
        "state is 2 wide, expected 3",
        "next_state is 2 wide, expected 3",
        "features is 3 wide, expected 2",
    ]
    assert str(caught.value).startswith("a block of transitions: ")
    assert learner.experience == 0


def test_nothing_at_all_is_learned_from_nothing() -> None:
    learner = agent_learner(DqnConfig())

    assert learner.learn([]) == {}
    assert learner.learn(block_of([], SPEC)) == {}
    assert learner.experience == 0


@pytest.mark.parametrize(
    ("changes", "is_good"),
    [
        ({}, True),
        ({"next_actions": _set("x"), "next_action": 0}, True),
        ({"action": 3}, False),
        ({"action": -1}, False),
        ({"next_action": 0}, False),
        ({"next_actions": _set("x"), "next_action": 1}, False),
        ({"propensity": 0.0}, False),
        ({"propensity": 1.5}, False),
        ({"propensity": np.nan}, False),
        ({"step": -1}, False),
    ],
)
def test_a_block_is_judged_as_its_transitions_would_be(
    changes: dict[str, Any], is_good: bool
) -> None:
    block = block_of([a_transition(), a_transition(**changes), a_transition()], _SETS)

    assert fits(block, _SETS).tolist() == [True, is_good, True]


def test_a_block_of_a_box_has_one_action_each_and_positions_are_whole() -> None:
    both = block_of(
        [
            a_transition(actions=_set("box"), action=0, propensity=7.0),
            a_transition(actions=_set("a", "b"), action=0),
        ],
        _BOX,
    )
    embedded = ProblemSpec(2, 3, 10, embedding=Embedding(rows=4, dim=2))
    odd, even = _set("a"), _set("a")
    odd.features[0, 0] = 1.5

    ids = block_of([a_transition(actions=one, action=0) for one in (odd, even)], embedded)

    assert fits(both, _BOX).tolist() == [True, False]
    assert fits(ids, embedded).tolist() == [False, True]


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["state", "next_state", "actions", "next_actions", "cost"])
def test_numbers_that_are_not_finite_are_found_wherever_they_stand(
    where: str, number: float
) -> None:
    vector, table = np.array([0.0, number], np.float32), _set("a", "b")
    table.features[1, 2] = number
    value: Any = {"state": vector, "next_state": vector, "cost": number}.get(where, table)
    bad = a_transition(**{where: value})
    following = a_transition(next_actions=_set())

    block = block_of([a_transition(), bad, following], _SETS)

    assert are_finite(block).tolist() == [True, False, True]
    assert are_finite(part(block, 1, 3)).tolist() == [False, True]


def test_a_number_that_float32_cannot_hold_is_not_finite() -> None:
    assert are_finite(block_of([a_transition(reward=1e39)], _SETS)).tolist() == [False]


def test_a_density_may_be_more_than_float32_can_hold() -> None:
    dense, endless = (a_transition(propensity=density) for density in (1e57, np.inf))

    assert are_finite(block_of([dense, endless], _SETS)).tolist() == [True, False]
