"""Hypothesis strategies for the types that modules exchange, in one place."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent_core.types import ActionScores, ActionSet, Doubles, Floats, Mask

seeds = st.integers(0, 2**64 - 1)
uniforms = st.floats(0, 1, exclude_max=True)
action_ids = st.text(min_size=1, max_size=8)

# Small whole numbers tie often, large ones stretch exponentials and differences.
_value = st.integers(-3, 3).map(float) | st.floats(-1e6, 1e6) | st.floats(-1e150, 1e150)


@st.composite
def values(draw: st.DrawFn, max_actions: int = 12) -> Doubles:
    """`[A]` float64 scores, ties included."""
    actions = draw(st.integers(1, max_actions))
    return np.array(draw(st.lists(_value, min_size=actions, max_size=actions)))


@st.composite
def scores(draw: st.DrawFn) -> ActionScores:
    """Scores with a spread of any rank from 1 to more than twice the number of actions, and three
    members, two of which are of one opinion."""
    value = draw(values())
    shape = (len(value), draw(st.integers(1, 2 * len(value) + 3)))
    spread = draw(hnp.arrays(np.float64, shape, elements=st.floats(-1e3, 1e3), fill=st.just(0.0)))
    members = np.column_stack((value, value, -value))
    return ActionScores(value, spread, members)


@st.composite
def probability_vectors(draw: st.DrawFn) -> Doubles:
    """`[A]` float64 that sums to 1, with exact zeros and very small parts."""
    part = st.just(0.0) | st.floats(1e-30, 1.0)
    parts = np.array(draw(st.lists(part, min_size=1, max_size=20)))
    parts[draw(st.integers(0, len(parts) - 1))] += 1.0
    parts /= parts.sum()
    return parts


@st.composite
def action_sets(draw: st.DrawFn, features: int) -> ActionSet:
    """Distinct ids with `features` moderate numbers each."""
    ids = tuple(draw(st.lists(action_ids, min_size=1, max_size=8, unique=True)))
    shape = (len(ids), features)
    return ActionSet(ids, draw(hnp.arrays(np.float32, shape, elements=st.floats(-8, 8, width=32))))


def masks(size: int) -> st.SearchStrategy[Mask]:
    """`[size]` bool."""
    return hnp.arrays(np.bool_, size)


def states(size: int) -> st.SearchStrategy[Floats]:
    """`[size]` moderate numbers."""
    return hnp.arrays(np.float32, size, elements=st.floats(-8, 8, width=32))
