"""Whether transitions are such that the learner was built for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agent_core.errors import TransitionError
from agent_core.types import (
    ActionSet,
    Floats,
    Integers,
    Mask,
    ProblemSpec,
    Transition,
    TransitionBlock,
)


def check_fits(transition: Transition, spec: ProblemSpec) -> None:
    """Looks at shapes and positions, not at how large the numbers are.

    Raises:
        TransitionError: with everything that is wrong, what was expected, and what to do.
    """
    if problems := list(_problems(transition, spec)):
        raise TransitionError(transition.decision_id, problems)


def check_widths(block: TransitionBlock, spec: ProblemSpec) -> None:
    """Whether a block was made for this problem: looks at the widths of its tables alone.

    Raises:
        TransitionError: with everything that is wrong, what was expected, and what to do.
    """
    widths = (
        ("state", block.state.shape[1], spec.state_dim),
        ("next_state", block.next_state.shape[1], spec.state_dim),
        ("features", block.features.shape[1], spec.action_dim),
    )
    problems = [
        f"{name} is {found} wide, expected {expected}; {_AS_DECLARED}"
        for name, found, expected in widths
        if found != expected
    ]
    if problems:
        raise TransitionError(None, problems)


def fits(block: TransitionBlock, spec: ProblemSpec) -> Mask:
    """`[T]`: which transitions `check_fits` would let pass; a block's shapes are right, and it has no ids."""
    facts, sizes = block.facts, np.diff(block.offsets).reshape(-1, 2)
    good = _is_position(facts["action"], sizes[:, 0])
    good &= _is_position(facts["next_action"], sizes[:, 1]) | (facts["next_action"] == -1)
    good &= (facts["propensity"] > 0) & (facts["step"] >= 0)
    good &= facts["propensity"] <= 1 if spec.box is None else sizes[:, 0] == 1
    if spec.embedding is not None:
        good &= _all_rows(block, _is_embedded(block.features, spec.embedding.rows))
    return good


def are_finite(block: TransitionBlock) -> Mask:
    """`[T]`: which transitions consist of numbers that float32 can hold; a density may be larger."""
    finite = _are_rows_finite(block.state) & _are_rows_finite(block.next_state)
    finite &= np.isfinite(block.facts["propensity"])
    for name in ("reward", "cost"):
        # A reward of 1e39 is a number, but not one in float32. A comparison with NaN is False.
        finite &= np.abs(block.facts[name]) <= _LARGEST
    return finite & _all_rows(block, _are_rows_finite(block.features))


_LARGEST = float(np.finfo(np.float32).max)


def _all_rows(block: TransitionBlock, is_good: Mask) -> Mask:
    """`[T]`: whether `is_good` `[N]` holds for all rows of both action sets."""
    good = np.ones(len(block), bool)
    if is_good.all():
        return good
    bad = np.flatnonzero(~is_good)
    sets = np.searchsorted(block.offsets, bad, side="right") - 1
    good[sets[(sets >= 0) & (sets < 2 * len(block))] // 2] = False
    return good


def _are_rows_finite(table: Floats) -> Mask:
    finite: Mask = np.logical_and.reduce(np.isfinite(table), axis=1)
    return finite


def _is_position(position: Integers, size: Integers) -> Mask:
    return (position >= 0) & (position < size)


def _is_embedded(features: Floats, rows: int) -> Mask:
    """`[N]`: whether the first number of each row is one of `rows` positions."""
    position = features[:, 0]
    embedded: Mask = (position >= 0) & (position < rows) & (position == np.floor(position))
    return embedded


def _problems(t: Transition, spec: ProblemSpec) -> Iterator[str]:
    for name, state in (("state", t.state), ("next_state", t.next_state)):
        if state is not None and state.shape != (spec.state_dim,):
            yield f"{name} has the shape {state.shape}, expected ({spec.state_dim},); {_AS_DECLARED}"
    for name, actions in (("actions", t.actions), ("next_actions", t.next_actions)):
        if actions is not None:
            yield from _set_problems(name, actions, spec)
    yield from _position_problems("action", t.action, t.actions)
    if t.next_action is not None:
        yield from _position_problems("next_action", t.next_action, t.next_actions)
    if spec.box is not None and len(t.actions) != 1:
        yield f"actions are {len(t.actions)}, expected 1; send the one action that was taken"
    if t.propensity <= 0 or (t.propensity > 1 and spec.box is None):
        is_box = spec.box is not None
        expected, what = ("above 0", "density") if is_box else ("above 0, up to 1", "probability")
        found = f"propensity is {t.propensity:g}, expected {expected}"
        yield f"{found}; send the {what} that the action was played with"
    if t.step < 0:
        yield f"step is {t.step}, expected 0 or more; count from 0"


def _set_problems(name: str, actions: ActionSet, spec: ProblemSpec) -> Iterator[str]:
    shape, ids = actions.features.shape, actions.ids
    if shape != (len(ids), spec.action_dim):
        yield f"{name} has features {shape}, expected ({len(ids)}, {spec.action_dim}); {_AS_DECLARED}"
    if len(set(ids)) < len(ids):
        twice = sorted({one for one in ids if ids.count(one) > 1})
        found = ", ".join(map(repr, twice[:3]))
        yield f"{name} lists {found} more than once, expected distinct ids; keep one of each"
    if spec.embedding is None or not len(ids) or shape != (len(ids), spec.action_dim):
        return
    is_embedded = _is_embedded(actions.features, spec.embedding.rows)
    if not is_embedded.all():
        position = actions.features[int(is_embedded.argmin()), 0]
        expected = f"a whole number from 0 to {spec.embedding.rows - 1}"
        yield f"{name} has the position {position:g}, expected {expected}; encode ids first"


def _position_problems(name: str, position: int, actions: ActionSet | None) -> Iterator[str]:
    count = 0 if actions is None else len(actions)
    if not 0 <= position < count:
        where = f"expected 0 to {count - 1}" if count else "there are no actions to choose from"
        yield f"{name} is {position}, {where}; send its position in the set that it was taken from"


_AS_DECLARED = "encode it as the agent's configuration declares"
