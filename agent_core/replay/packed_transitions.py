"""Whole transitions as tensors, for memories that keep them as they came."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from agent_core.interfaces import TrainingState
from agent_core.types import ActionSet, Floats, ProblemSpec, Transition


def pack(transitions: Sequence[Transition], spec: ProblemSpec) -> TrainingState:
    """`transitions`, in order. The ids of actions are left out: no learner sees them."""
    nothing = np.zeros(spec.state_dim, np.float32)
    states = [s for t in transitions for s in (t.state, _or(t.next_state, nothing))]
    tables = [s.features for t in transitions for s in (t.actions, t.next_actions) if s is not None]
    names = [n.encode("utf-8", _LOSSLESS) for t in transitions for n in _names(t)]
    numbers = [(t.reward, t.cost, t.propensity) for t in transitions]
    return {
        "states": _joined([s[None] for s in states], spec.state_dim),
        "features": _joined(tables, spec.action_dim),
        "numbers": torch.tensor(numbers, dtype=torch.float64).reshape(-1, 3),
        "integers": torch.tensor([_integers(t) for t in transitions]).reshape(-1, 9).long(),
        "names": torch.from_numpy(np.frombuffer(b"".join(names), np.uint8).copy()),
        "name_lengths": torch.tensor([len(name) for name in names], dtype=torch.int64),
    }


def unpack(state: TrainingState) -> list[Transition]:
    """What `pack` was given, with positions in place of the ids of actions."""
    states = iter(state["states"].numpy().copy())
    features = _Cut(state["features"].numpy().copy())
    names = _Cut(state["names"].numpy())
    lengths = iter(state["name_lengths"].tolist())
    rows = zip(state["numbers"].tolist(), state["integers"].tolist(), strict=True)
    return [
        _unpacked(
            numbers,
            integers,
            (next(states), next(states)),
            features,
            [names.take(next(lengths)).tobytes().decode("utf-8", _LOSSLESS) for _ in range(2)],
        )
        for numbers, integers in rows
    ]


_LOSSLESS = "surrogatepass"


class _Cut:
    """Takes a table apart from its start."""

    def __init__(self, table: np.ndarray) -> None:
        self._table = table
        self._at = 0

    def take(self, rows: int) -> np.ndarray:
        self._at += rows
        return self._table[self._at - rows : self._at]


def _integers(t: Transition) -> tuple[int, ...]:
    return (
        t.action,
        -1 if t.next_action is None else t.next_action,
        t.model_version,
        t.step,
        t.terminated,
        t.truncated,
        t.next_state is not None,
        len(t.actions.features),
        -1 if t.next_actions is None else len(t.next_actions.features),
    )


def _unpacked(
    numbers: list[float],
    integers: list[int],
    states: tuple[Floats, Floats],
    features: _Cut,
    names: list[str],
) -> Transition:
    action, next_action, version, step, terminated, truncated, has_next, size, next_size = integers
    actions = _set(features.take(size))
    return Transition(
        decision_id=names[0],
        state=states[0],
        actions=actions,
        action=action,
        reward=numbers[0],
        cost=numbers[1],
        next_state=states[1] if has_next else None,
        next_actions=None if next_size < 0 else _set(features.take(next_size)),
        terminated=bool(terminated),
        truncated=bool(truncated),
        propensity=numbers[2],
        model_version=version,
        next_action=None if next_action < 0 else next_action,
        episode_id=names[1],
        step=step,
    )


def _set(features: Floats) -> ActionSet:
    return ActionSet(tuple(map(str, range(len(features)))), features)


def _names(t: Transition) -> tuple[str, str]:
    return t.decision_id, t.episode_id


def _or(state: Floats | None, nothing: Floats) -> Floats:
    return nothing if state is None else state


def _joined(tables: Sequence[Floats], width: int) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([np.zeros((0, width), np.float32), *tables]))
