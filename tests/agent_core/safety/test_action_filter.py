"""Fixed rules on ids and on represented features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from agent_core.safety.action_filter import ActionFilterConfig
from agent_core.types import ActionSet

_STATE = np.zeros(1, dtype=np.float32)
_ACTIONS = ActionSet(
    ("cheap", "fair", "dear"), np.array([[0.1, 5.0], [0.5, 1.0], [0.9, 1.0]], dtype=np.float32)
)


def _allowed(**rules: Any) -> list[bool]:
    safety = ActionFilterConfig.model_validate(rules).build()
    return list(safety.allowed(_STATE, _ACTIONS))


def test_a_denied_id_is_removed_and_an_absent_one_does_not_matter() -> None:
    assert _allowed(denied=["fair", "gone"]) == [True, False, True]


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        ({"feature": 0, "high": 0.5}, [True, True, False]),
        ({"feature": 0, "low": 0.5}, [False, True, True]),
        ({"feature": 0, "low": 0.2, "high": 0.8}, [False, True, False]),
        ({"feature": 1, "high": 0.0}, [False, False, False]),
    ],
)
def test_a_bound_keeps_what_lies_in_the_closed_interval(
    bound: dict[str, Any], expected: list[bool]
) -> None:
    assert _allowed(bounds=[bound]) == expected


def test_a_bound_written_in_decimal_includes_the_float32_of_that_decimal() -> None:
    # float32(0.9) is 0.89999998; it must not count as below 0.9.
    assert _allowed(bounds=[{"feature": 0, "low": 0.9}]) == [False, False, True]


def test_every_rule_must_be_met() -> None:
    rules = {"denied": ["dear"], "bounds": [{"feature": 1, "high": 2}]}

    assert _allowed(**rules) == [False, True, False]


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        ({"feature": 0}, "limits nothing"),
        ({"feature": 0, "low": 2, "high": 1}, "above `high`"),
        ({"feature": -1, "low": 2}, "greater than or equal to 0"),
    ],
)
def test_a_bound_that_makes_no_sense_is_refused(bound: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ActionFilterConfig.model_validate({"bounds": [bound]})


def test_a_list_of_allowed_ids_removes_all_others() -> None:
    assert _allowed(allowed=["fair", "gone"]) == [False, True, False]
    assert _allowed(allowed=[]) == [False, False, False]


def test_a_required_condition_must_be_met() -> None:
    cheap = {"feature": 0, "op": "<", "value": 0.8}
    plain = {"feature": 1, "op": "==", "value": 1}

    assert _allowed(required=[cheap]) == [True, True, False]
    assert _allowed(required=[cheap, plain]) == [False, True, False]


def test_an_id_that_is_both_allowed_and_denied_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"\['fair'\] are both allowed and denied"):
        ActionFilterConfig(allowed=("fair", "dear"), denied=("fair",))


def test_it_lists_every_number_that_its_rules_read() -> None:
    rules = {
        "bounds": [{"feature": 4, "low": 0}],
        "required": [{"feature": 2, "of": "state", "op": "<", "value": 1}],
    }

    assert list(ActionFilterConfig.model_validate(rules).readings()) == [
        ("bounds.0.feature", "action", 4),
        ("required.0.feature", "state", 2),
    ]
