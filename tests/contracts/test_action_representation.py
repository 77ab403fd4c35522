"""What every action representation owes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from agent_core.interfaces import ActionRepresentationConfig
from agent_core.registry import AnyRepresentation, members
from agent_core.types import ActionSet
from tests.support.strategies import action_sets

_EXAMPLES: dict[str, dict[str, Any]] = {
    "identity": {},
    "one_hot": {"ids": ["0", "1", "a"]},
    "position": {},
    "binary": {"ids": ["0", "1", "a"]},
    "embedding": {"rows": 5, "ids": ["0", "1", "a"]},
}
_CONFIGS: list[ActionRepresentationConfig] = [
    TypeAdapter(AnyRepresentation).validate_python({"kind": kind, **fields})
    for kind, fields in _EXAMPLES.items()
]
each_representation = pytest.mark.parametrize("config", _CONFIGS, ids=_EXAMPLES)


def test_every_registered_representation_is_checked_here() -> None:
    assert {type(config) for config in _CONFIGS} == set(members(AnyRepresentation))


@each_representation
@given(actions=action_sets(features=3))
def test_encoding_has_the_promised_shape_and_ends_with_the_features(
    config: ActionRepresentationConfig, actions: ActionSet
) -> None:
    representation = config.build(3)

    encoded = representation.encode(actions.ids, actions.features)

    assert encoded.dtype == np.float32
    assert encoded.shape == (len(actions), representation.dim)
    assert np.array_equal(encoded[:, -3:], actions.features)


@each_representation
@given(actions=action_sets(features=3), data=st.data())
def test_a_row_depends_on_its_own_action_only(
    config: ActionRepresentationConfig, actions: ActionSet, data: st.DataObject
) -> None:
    representation = config.build(3)
    row = data.draw(st.integers(0, len(actions) - 1))

    alone = representation.encode((actions.ids[row],), actions.features[row : row + 1])

    assert np.array_equal(alone[0], representation.encode(actions.ids, actions.features)[row])


@each_representation
def test_an_empty_action_set_encodes_to_no_rows(config: ActionRepresentationConfig) -> None:
    representation = config.build(3)

    assert representation.encode((), np.zeros((0, 3), np.float32)).shape == (0, representation.dim)
