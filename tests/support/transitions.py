"""Transitions for tests: one by hand, and any by hypothesis."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent_core.types import ActionSet, Floats, Transition

_FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
_DOUBLES = st.floats(-1e38, 1e38)


def a_transition(**changes: Any) -> Transition:
    """A finished bandit decision among three actions, with `changes`."""
    fields: dict[str, Any] = {
        "decision_id": "d-1",
        "state": np.array([1.0, -2.0], np.float32),
        "actions": ActionSet(("a", "b", "c"), np.eye(3, dtype=np.float32)),
        "action": 1,
        "reward": 0.5,
        "cost": 0.25,
        "next_state": None,
        "next_actions": None,
        "terminated": True,
        "truncated": False,
        "propensity": 0.125,
        "model_version": 7,
    }
    return Transition(**(fields | changes))


def _vectors(size: int) -> st.SearchStrategy[Floats]:
    return hnp.arrays(np.float32, size, elements=_FLOATS)


@st.composite
def _action_sets(draw: st.DrawFn, dim: int, min_size: int) -> ActionSet:
    ids = tuple(draw(st.lists(st.text(max_size=8), min_size=min_size, max_size=5, unique=True)))
    features = draw(hnp.arrays(np.float32, (len(ids), dim), elements=_FLOATS))
    return ActionSet(ids, features)


@st.composite
def transitions(draw: st.DrawFn) -> Transition:
    """Any transition that is whole and finite, with none to some dimensions."""
    state_dim, dim = draw(st.integers(0, 4)), draw(st.integers(0, 3))
    actions = draw(_action_sets(dim, min_size=1))
    following = draw(st.none() | _action_sets(dim, min_size=0))
    positions = st.integers(0, len(following) - 1) if following else st.nothing()
    return Transition(
        decision_id=draw(st.text(max_size=8)),
        state=draw(_vectors(state_dim)),
        actions=actions,
        action=draw(st.integers(0, len(actions) - 1)),
        reward=draw(_DOUBLES),
        cost=draw(_DOUBLES),
        next_state=draw(st.none() | _vectors(state_dim)),
        next_actions=following,
        terminated=draw(st.booleans()),
        truncated=draw(st.booleans()),
        propensity=draw(st.floats(0, 1, exclude_min=True)),
        model_version=draw(st.integers(0, 2**53)),
        next_action=draw(st.none() | positions),
        episode_id=draw(st.text(max_size=8)),
        step=draw(st.integers(0, 10**9)),
    )
