"""A transition comes back from its tensors as it went in."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent_core.replay.packed_transitions import pack, unpack
from agent_core.types import ActionSet, ProblemSpec, Transition
from tests.support.transitions import a_transition, transitions


@given(transition=transitions())
def test_one_survives_whole_but_for_the_ids_of_its_actions(transition: Transition) -> None:
    spec = ProblemSpec(len(transition.state), transition.actions.features.shape[1], 10)

    (back,) = unpack(pack([transition], spec))

    for name in (field.name for field in fields(Transition)):
        _assert_same(getattr(back, name), getattr(transition, name))


@given(steps=st.lists(st.integers(0, 9), max_size=5))
def test_many_keep_their_order(steps: list[int]) -> None:
    spec = ProblemSpec(state_dim=2, action_dim=3, max_actions=3)
    several = [a_transition(episode_id="é" * step, step=step) for step in steps]

    back = unpack(pack(several, spec))

    assert [(t.episode_id, t.step) for t in back] == [("é" * step, step) for step in steps]


def _assert_same(got: Any, expected: Any) -> None:
    if isinstance(expected, ActionSet):
        assert len(got) == len(expected)
        got, expected = got.features, expected.features
    if isinstance(expected, np.ndarray):
        assert got.tobytes() == expected.tobytes()
        assert got.dtype == expected.dtype
    else:
        assert (got, type(got)) == (expected, type(expected))
