"""Choices and means within ragged sets; letters and layout as in `segments.py`."""

from __future__ import annotations

import torch

from agent_core.functional.segments import segment_max, segment_sum


def segment_mean(values: torch.Tensor, segments: torch.Tensor, count: int) -> torch.Tensor:
    """`[B]` means of `values` `[N]` per set; 0 for an empty set. `count`: B."""
    sizes = segment_sum(torch.ones_like(values), segments, count)
    return segment_sum(values, segments, count) / sizes.clamp(min=1)


def segment_argmax(values: torch.Tensor, segments: torch.Tensor, count: int) -> torch.Tensor:
    """`[B]` int64: the row of the largest of `values` `[N]` per set, the first of those that tie.

    N, which is no row, for an empty set; see `at_rows`.
    """
    total = len(values)
    is_best = values == segment_max(values, segments, count).index_select(0, segments)
    rows = torch.where(is_best, torch.arange(total, device=values.device), total)
    nothing = torch.full((count,), total, device=values.device)
    return nothing.scatter_reduce(0, segments, rows, reduce="amin", include_self=True)


def at_rows(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """`[B, ...]`: `values` `[N, ...]` at `rows` `[B]`; where the row is N, 0, the value of no choice."""
    nothing = values.new_zeros((1, *values.shape[1:]))
    return torch.cat([values, nothing]).index_select(0, rows)
