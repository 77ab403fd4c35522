"""What every safety module owes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from pydantic import TypeAdapter

from agent_core.interfaces import SafetyConfig, SafetyModule
from agent_core.registry import AnySafety, members
from agent_core.types import ActionSet, Floats
from tests.support.strategies import action_sets, states

_EXAMPLES: dict[str, dict[str, Any]] = {
    "action_filter": {"denied": ["0", "1"], "bounds": [{"feature": 1, "low": -2, "high": 2}]},
    "stack": {
        "parts": [
            {"kind": "action_filter", "denied": ["0"]},
            {"kind": "action_filter", "bounds": [{"feature": 0, "low": 0}]},
        ]
    },
}
_CONFIGS: list[SafetyConfig] = [
    TypeAdapter(AnySafety).validate_python({"kind": kind, **fields})
    for kind, fields in _EXAMPLES.items()
]
_FILTERS = [config for config in _CONFIGS if config.build() is not None]
each_filter = pytest.mark.parametrize("config", _FILTERS, ids=[str(c.kind) for c in _FILTERS])  # type: ignore[attr-defined]  # every config has one


def _filter(config: SafetyConfig) -> SafetyModule:
    built = config.build()
    assert built is not None
    return built


def test_every_registered_safety_module_is_checked_here() -> None:
    filters = {member for member in members(AnySafety) if member.build is not SafetyConfig.build}
    assert {type(config) for config in _FILTERS} == filters


@each_filter
@given(state=states(2), actions=action_sets(features=2))
def test_it_answers_for_each_action_and_changes_nothing(
    config: SafetyConfig, state: Floats, actions: ActionSet
) -> None:
    before = state.tobytes(), actions.features.tobytes()

    mask = _filter(config).allowed(state, actions)

    assert mask.dtype == np.bool_
    assert mask.shape == (len(actions),)
    assert before == (state.tobytes(), actions.features.tobytes())


@each_filter
def test_it_accepts_an_empty_action_set(config: SafetyConfig) -> None:
    empty = ActionSet((), np.zeros((0, 2), dtype=np.float32))

    assert _filter(config).allowed(np.zeros(2, dtype=np.float32), empty).shape == (0,)
