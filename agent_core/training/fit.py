"""Whether a transition is one that the learner was built for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agent_core.errors import TransitionError
from agent_core.types import ActionSet, ProblemSpec, Transition


def check_fits(transition: Transition, spec: ProblemSpec) -> None:
    """Looks at shapes and positions, not at how large the numbers are.

    Raises:
        TransitionError: with everything that is wrong, what was expected, and what to do.
    """
    if problems := list(_problems(transition, spec)):
        raise TransitionError(transition.decision_id, problems)


def _problems(t: Transition, spec: ProblemSpec) -> Iterator[str]:
    for name, state in (("state", t.state), ("next_state", t.next_state)):
        if state is not None and state.shape != (spec.state_dim,):
            yield f"{name} has the shape {state.shape}, expected ({spec.state_dim},)"
    for name, actions in (("actions", t.actions), ("next_actions", t.next_actions)):
        if actions is not None:
            yield from _set_problems(name, actions, spec)
    yield from _position_problems("action", t.action, t.actions)
    if t.next_action is not None:
        yield from _position_problems("next_action", t.next_action, t.next_actions)
    if spec.box is not None and len(t.actions) != 1:
        yield f"actions are {len(t.actions)}; send the one action that was taken"
    if t.propensity <= 0 or (t.propensity > 1 and spec.box is None):
        yield f"propensity is {t.propensity:g}; send the probability that the action was played with"
    if t.step < 0:
        yield f"step is {t.step}; count from 0"


def _set_problems(name: str, actions: ActionSet, spec: ProblemSpec) -> Iterator[str]:
    shape, ids = actions.features.shape, actions.ids
    if shape != (len(ids), spec.action_dim):
        yield f"{name} has features {shape}, expected ({len(ids)}, {spec.action_dim})"
    if len(set(ids)) < len(ids):
        twice = sorted({one for one in ids if ids.count(one) > 1})
        yield f"{name} lists {', '.join(map(repr, twice[:3]))} more than once; keep one of each"
    if spec.embedding is not None and len(ids) and shape == (len(ids), spec.action_dim):
        rows = actions.features[:, 0]
        if not ((rows >= 0) & (rows < spec.embedding.rows) & (rows == np.floor(rows))).all():
            yield f"{name} has positions outside of 0 to {spec.embedding.rows - 1}; encode ids first"


def _position_problems(name: str, position: int, actions: ActionSet | None) -> Iterator[str]:
    count = 0 if actions is None else len(actions)
    if not 0 <= position < count:
        where = f"expected 0 to {count - 1}" if count else "there are no actions to choose from"
        yield f"{name} is {position}, {where}"
