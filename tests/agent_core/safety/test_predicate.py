"""Conditions on states and actions, as a policy file has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent_core.config import parse_agent_config
from agent_core.errors import ConfigError
from agent_core.safety.predicate import DEEPEST, Predicate
from tests.support.strategies import states

_STATE = np.array([0.0, 3.0], np.float32)
_ACTIONS = np.array([[0.1, 5.0], [0.5, 1.0], [0.9, 1.0]], np.float32)


def _holds(**predicate: Any) -> list[bool]:
    return list(Predicate.model_validate(predicate).holds(_STATE, _ACTIONS).tolist())


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("<", [True, False, False]),
        ("<=", [True, True, False]),
        ("==", [False, True, False]),
        ("!=", [True, False, True]),
        (">=", [False, True, True]),
        (">", [False, False, True]),
    ],
)
def test_a_comparison_looks_at_one_number_of_each_action(op: str, expected: list[bool]) -> None:
    assert _holds(feature=0, op=op, value=0.5) == expected


def test_a_list_names_the_numbers_that_do_or_do_not_pass() -> None:
    assert _holds(feature=0, op="in", value=[0.9, 0.1]) == [True, False, True]
    assert _holds(feature=0, op="not_in", value=[0.9, 0.1]) == [False, True, False]


def test_a_decimal_equals_the_float32_of_that_decimal() -> None:
    # float32(0.9) is 0.89999998.
    assert _holds(feature=0, op="==", value=0.9) == [False, False, True]


def test_a_condition_on_the_state_is_the_same_for_every_action() -> None:
    assert _holds(feature=1, of="state", op=">", value=2) == [True] * 3
    assert _holds(feature=0, of="state", op=">", value=2) == [False] * 3


def test_conditions_combine() -> None:
    cheap, plain = {"feature": 0, "op": "<", "value": 0.6}, {"feature": 1, "op": "==", "value": 1}

    assert _holds(all=[cheap, plain]) == [False, True, False]
    assert _holds(any=[cheap, plain]) == [True, True, True]
    assert _holds(none=[cheap, plain]) == [False, False, False]
    assert _holds(none=[cheap]) == [False, False, True]


def test_a_rule_may_depend_on_the_state() -> None:
    # In a state whose second number is above 2, only actions whose second feature is 1.
    usual = {"feature": 1, "of": "state", "op": "<=", "value": 2}

    assert _holds(any=[usual, {"feature": 1, "op": "==", "value": 1}]) == [False, True, True]


@given(state=states(2), value=st.floats(-8, 8, width=32))
def test_an_operator_and_its_opposite_never_agree(state: Any, value: float) -> None:
    for op, opposite in (("<", ">="), ("<=", ">"), ("==", "!=")):
        one, other = (
            Predicate.model_validate({"feature": 1, "of": "state", "op": o, "value": value})
            for o in (op, opposite)
        )
        assert (one.holds(state, _ACTIONS) != other.holds(state, _ACTIONS)).all()


def test_no_actions_are_no_answers() -> None:
    predicate = Predicate.model_validate({"feature": 0, "of": "state", "op": "<", "value": 1})

    assert predicate.holds(_STATE, _ACTIONS[:0]).shape == (0,)


def _nested(depth: int) -> dict[str, Any]:
    predicate: dict[str, Any] = {"feature": 0, "op": "<", "value": 1}
    for _ in range(depth - 1):
        predicate = {"all": [predicate]}
    return predicate


@pytest.mark.parametrize(
    ("predicate", "message"),
    [
        ({}, "not one condition"),
        ({"of": "state", "all": [_nested(1)]}, "not one condition"),
        ({"feature": 0, "op": "<"}, "not whole"),
        ({"all": [_nested(1)], "any": [_nested(1)]}, "not one condition"),
        ({"all": []}, "at least 1"),
        ({"feature": 0, "op": "in", "value": 1}, "list of numbers"),
        ({"feature": 0, "op": "<", "value": [1]}, "one number"),
        ({"feature": 0, "op": "import os", "value": 1}, "Input should be"),
        ({"feature": 0, "op": "<", "value": "os.system"}, "valid number"),
        ({"feature": 0, "op": "<", "value": float("nan")}, "finite number"),
        ({"feature": -1, "op": "<", "value": 1}, "greater than or equal to 0"),
        (_nested(DEEPEST + 1), "write it flatter"),
        (_nested(5000), "recursion"),
    ],
)
def test_anything_but_the_grammar_is_refused(predicate: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Predicate.model_validate(predicate)


def test_the_deepest_that_is_allowed_works() -> None:
    assert Predicate.model_validate(_nested(DEEPEST)).depth == DEEPEST


def test_a_policy_file_is_told_the_place() -> None:
    with pytest.raises(ConfigError, match=r"safety\.required\.0\.all\.1\.op: is not a known value"):
        parse_agent_config(
            {
                "observation": {"kind": "vector", "dim": 1},
                "actions": {"kind": "vector", "dim": 1},
                "policy_learner": {"kind": "linear"},
                "exploration": {"kind": "none"},
                "safety": {
                    "kind": "action_filter",
                    "required": [{"all": [_nested(1), {"feature": 0, "op": "=", "value": 1}]}],
                },
            }
        )


def test_it_lists_every_number_that_it_reads_with_its_place() -> None:
    predicate = Predicate.model_validate(
        {"any": [_nested(2), {"feature": 3, "of": "state", "op": "in", "value": [1]}]}
    )

    assert list(predicate.readings()) == [
        ("any.0.all.0.feature", "action", 0),
        ("any.1.feature", "state", 3),
    ]
