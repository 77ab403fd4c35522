"""New transitions as columns, and as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from agent_core.functional.blocks import ends, spans, width_of
from agent_core.functional.keys import key_of
from agent_core.types import (
    FACTS,
    Floats,
    ProblemSpec,
    RaggedActions,
    Transition,
    TransitionBatch,
    TransitionBlock,
    Transitions,
)


def block_of(transitions: Transitions, spec: ProblemSpec) -> TransitionBlock:
    """`transitions` in order, as columns that share no memory with them; a block stays the one it is."""
    if isinstance(transitions, TransitionBlock):
        return transitions
    nothing = np.zeros(spec.state_dim, np.float32)
    none = np.zeros((0, spec.action_dim), np.float32)
    tables = [
        none if actions is None else actions.features
        for t in transitions
        for actions in (t.actions, t.next_actions)
    ]
    return TransitionBlock(
        _stack([t.state for t in transitions], spec.state_dim),
        _stack(
            [nothing if t.next_state is None else t.next_state for t in transitions], spec.state_dim
        ),
        np.concatenate([none, *tables]),
        np.array([0, *accumulate(map(len, tables))], np.int64),
        np.array([_facts(t) for t in transitions], FACTS),
    )


def _facts(t: Transition) -> tuple[Any, ...]:
    return (
        *(t.reward, t.cost, t.propensity),
        t.action,
        -1 if t.next_action is None else t.next_action,
        t.model_version,
        t.step,
        key_of(t.decision_id),
        key_of(t.episode_id) if t.episode_id else 0,
        t.terminated,
        t.truncated,
        t.next_state is not None,
    )


def collate(transitions: Transitions, spec: ProblemSpec, device: torch.device) -> TransitionBatch:
    """`transitions` in order, as tensors on `device` that share no memory with them."""
    block = block_of(transitions, spec)
    facts = block.facts
    return TransitionBatch(
        state=torch.tensor(block.state, device=device),
        actions=_ragged(block, 0, device),
        action=torch.tensor(facts["action"], device=device),
        reward=_floats(facts["reward"], device),
        cost=_floats(facts["cost"], device),
        next_state=torch.tensor(block.next_state, device=device),
        next_actions=_ragged(block, 1, device),
        bootstraps=_floats(block.bootstraps, device),
        # Densities may be more, or less, than float32 can hold; their logarithms never are.
        propensity=torch.tensor(facts["propensity"], device=device),
        next_action=torch.tensor(facts["next_action"], device=device),
        weight=torch.ones(len(block), device=device),
        key=torch.tensor(facts["key"], device=device),
        row=torch.arange(len(block), device=device),
    )


def _stack(rows: Sequence[Floats], width: int) -> Floats:
    return np.array(rows, np.float32).reshape(len(rows), width)


def _floats(column: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(column.astype(np.float32)).to(device)


def _ragged(block: TransitionBlock, which: int, device: torch.device) -> RaggedActions:
    """Every first (0) or every second (1) set."""
    starts = block.offsets[which:-1:2]
    sizes = block.offsets[which + 1 :: 2] - starts
    features = torch.from_numpy(block.features[spans(starts, sizes)])
    offsets = torch.from_numpy(ends(sizes))
    return RaggedActions(features.to(device), offsets.to(device), width_of(sizes))
