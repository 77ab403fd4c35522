"""Hypothesis strategies for logs."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent_core.evaluation.logged import LoggedDecisions
from agent_core.evaluation.terms import Terms
from agent_core.functional.blocks import ends
from agent_core.types import Doubles

rewards = st.floats(-10, 10)


@st.composite
def behaviours(draw: st.DrawFn) -> tuple[LoggedDecisions, Doubles]:
    """A log whose target policy is the behaviour policy, and some value of each action: `[N]`."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=12))
    offsets = ends(np.array(sizes))
    actions = int(offsets[-1])
    parts = draw(hnp.arrays(np.float64, actions, elements=st.floats(0.05, 1)))
    target = parts / np.repeat(np.add.reduceat(parts, offsets[:-1]), sizes)
    action = np.array([draw(st.integers(0, size - 1)) for size in sizes])
    reward = draw(hnp.arrays(np.float64, len(sizes), elements=rewards))
    values = draw(hnp.arrays(np.float64, actions, elements=rewards))
    propensity = target[offsets[:-1] + action]
    return LoggedDecisions(reward, propensity, action, target, offsets), values


@st.composite
def terms(draw: st.DrawFn, min_size: int = 1) -> Terms:
    """Rewards, a model and weights from none to large."""
    size = draw(st.integers(min_size, 20))
    columns = hnp.arrays(np.float64, size, elements=rewards)
    weight = draw(hnp.arrays(np.float64, size, elements=st.just(0.0) | st.floats(0.01, 100)))
    return Terms(draw(columns), weight * draw(columns), weight)


def parts_of(whole: Terms, cut: int) -> tuple[Terms, Terms]:
    """The rows before `cut`, and the others."""
    columns = (whole.model, whole.correction, whole.weight)
    return Terms(*[c[:cut] for c in columns]), Terms(*[c[cut:] for c in columns])
