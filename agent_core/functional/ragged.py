"""Rows of batches whose action sets differ in size."""

from __future__ import annotations

import torch

from agent_core.types import RaggedActions


def select_sets(actions: RaggedActions, rows: torch.Tensor) -> RaggedActions:
    """The sets of the batch rows `rows` `[M]`, in that order, as one flat table."""
    lengths = (actions.offsets[1:] - actions.offsets[:-1]).index_select(0, rows)
    offsets = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
    shift = actions.offsets.index_select(0, rows) - offsets[:-1]
    total = int(offsets[-1])
    table_rows = torch.repeat_interleave(shift, lengths, output_size=total)
    table_rows += torch.arange(total, device=rows.device)
    return RaggedActions(actions.features.index_select(0, table_rows), offsets, actions.width)
