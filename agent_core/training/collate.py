"""New transitions as one batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from agent_core.functional.keys import key_of
from agent_core.types import (
    ActionSet,
    Floats,
    ProblemSpec,
    RaggedActions,
    Transition,
    TransitionBatch,
)


def collate(
    transitions: Sequence[Transition], spec: ProblemSpec, device: torch.device
) -> TransitionBatch:
    """`transitions` in order, as tensors on `device` that share no memory with them."""
    nothing = np.zeros(spec.state_dim, np.float32)
    follows = [t.next_state is not None and not t.terminated for t in transitions]
    return TransitionBatch(
        state=_stack([t.state for t in transitions], device),
        actions=_ragged([t.actions for t in transitions], spec, device),
        action=torch.tensor([t.action for t in transitions], device=device),
        reward=_floats([t.reward for t in transitions], device),
        cost=_floats([t.cost for t in transitions], device),
        next_state=_stack(
            [nothing if t.next_state is None else t.next_state for t in transitions], device
        ),
        next_actions=_ragged([t.next_actions for t in transitions], spec, device),
        bootstraps=_floats(follows, device),
        propensity=_floats([t.propensity for t in transitions], device),
        next_action=torch.tensor(
            [-1 if t.next_action is None else t.next_action for t in transitions], device=device
        ),
        weight=torch.ones(len(transitions), device=device),
        key=torch.tensor([key_of(t.decision_id) for t in transitions], device=device),
        row=torch.arange(len(transitions), device=device),
    )


def _stack(rows: Sequence[Floats], device: torch.device) -> torch.Tensor:
    return torch.tensor(np.stack(rows), device=device)


def _floats(numbers: Sequence[float], device: torch.device) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float32, device=device)


def _ragged(
    sets: Sequence[ActionSet | None], spec: ProblemSpec, device: torch.device
) -> RaggedActions:
    tables = [np.zeros((0, spec.action_dim), np.float32) if s is None else s.features for s in sets]
    offsets = np.cumsum([0, *map(len, tables)])
    return RaggedActions(
        torch.tensor(np.concatenate(tables), device=device), torch.tensor(offsets, device=device)
    )
