"""Picks the chosen action of every transition out of the ragged sets."""

from __future__ import annotations

import torch

from agent_core.types import RaggedActions, TransitionBatch


def chosen_pairs(batch: TransitionBatch) -> RaggedActions:
    """The B chosen actions as B sets of one: `features` is `[B, D]`."""
    features = batch.actions.features.index_select(0, batch.chosen_rows())
    offsets = torch.arange(len(features) + 1, device=features.device)
    return RaggedActions(features, offsets)
