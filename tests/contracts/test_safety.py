"""What every safety module owes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from pydantic import TypeAdapter

from agent_core.interfaces import SafetyConfig
from agent_core.registry import AnySafety, members
from agent_core.types import ActionSet, Floats
from tests.support.strategies import action_sets, states

_EXAMPLES: dict[str, dict[str, Any]] = {
    "none": {},
    "action_filter": {"denied": ["0", "1"], "bounds": [{"feature": 1, "low": -2, "high": 2}]},
}
_CONFIGS: list[SafetyConfig] = [
    TypeAdapter(AnySafety).validate_python({"kind": kind, **fields})
    for kind, fields in _EXAMPLES.items()
]
each_safety = pytest.mark.parametrize("config", _CONFIGS, ids=_EXAMPLES)


def test_every_registered_safety_module_is_checked_here() -> None:
    assert {type(config) for config in _CONFIGS} == set(members(AnySafety))


@each_safety
@given(state=states(2), actions=action_sets(features=2))
def test_it_answers_for_each_action_and_changes_nothing(
    config: SafetyConfig, state: Floats, actions: ActionSet
) -> None:
    before = state.tobytes(), actions.features.tobytes()

    mask = config.build().allowed(state, actions)

    assert mask.dtype == np.bool_
    assert mask.shape == (len(actions),)
    assert before == (state.tobytes(), actions.features.tobytes())


@each_safety
def test_it_accepts_an_empty_action_set(config: SafetyConfig) -> None:
    empty = ActionSet((), np.zeros((0, 2), dtype=np.float32))

    assert config.build().allowed(np.zeros(2, dtype=np.float32), empty).shape == (0,)
