"""Reductions over ragged sets that lie one after the other in a flat table.

N rows belong to the B sets of a `RaggedActions`, or, behind them, to none. No set is padded, so its result does not
depend on how large the other sets are, and rows in no set have no part in any result or gradient: they are
reduced as one more set, which is dropped. Where all sets are of one size the table is a box, `[B, A]`, and is
reduced as one: no index is read.
"""

from __future__ import annotations

import torch

from agent_core.types import RaggedActions


def spread(per_set: torch.Tensor, sets: RaggedActions) -> torch.Tensor:
    """`[N, ...]`: what is known of each set, `[B, ...]`, repeated for each of its rows."""
    if sets.width is None:
        return per_set.index_select(0, sets.segments())
    return per_set.unsqueeze(1).expand(-1, sets.width, *per_set.shape[1:]).flatten(0, 1)


def segment_sum(values: torch.Tensor, sets: RaggedActions) -> torch.Tensor:
    """`[B, ...]` sums of `values` `[N, ...]` per set; 0 for an empty set."""
    if sets.width is None:
        zeros = values.new_zeros(sets.count + 1, *values.shape[1:])
        return zeros.index_add(0, sets.owners(), values)[:-1]
    return _box(values, sets).sum(1)


def segment_max(values: torch.Tensor, sets: RaggedActions) -> torch.Tensor:
    """`[B, ...]` maxima of `values` `[N, ...]` per set; 0 for an empty set, the value of having no choice."""
    if sets.width:
        return _box(values, sets).amax(1)
    start = values.new_zeros(sets.count + 1, *values.shape[1:])
    index = sets.owners().view(-1, *[1] * (values.dim() - 1)).expand_as(values)
    return start.scatter_reduce(0, index, values, reduce="amax", include_self=False)[:-1]


def segment_mean(values: torch.Tensor, sets: RaggedActions) -> torch.Tensor:
    """`[B]` means of `values` `[N]` per set; 0 for an empty set."""
    return segment_sum(values, sets) / sets.lengths().clamp(min=1)


def segment_softmax(values: torch.Tensor, sets: RaggedActions) -> torch.Tensor:
    """`[N]` probabilities proportional to exp(`values`), summing to 1 within each set.

    The maximum of each set is subtracted first, so large values do not overflow.
    """
    shifted = torch.exp(values - spread(segment_max(values, sets), sets))
    return shifted / spread(segment_sum(shifted, sets), sets)


def segment_argmax(values: torch.Tensor, sets: RaggedActions) -> torch.Tensor:
    """`[B]` int64: the row of the largest of `values` `[N]` per set, the first of those that tie.

    N, which is no row, for an empty set; see `at_rows`.
    """
    total = len(values)
    if sets.width:
        return sets.offsets[:-1] + _box(values, sets).argmax(1)
    is_best = values == spread(segment_max(values, sets), sets)
    rows = torch.where(is_best, torch.arange(total, device=values.device), total)
    nothing = torch.full((sets.count + 1,), total, device=values.device)
    return nothing.scatter_reduce(0, sets.owners(), rows, reduce="amin", include_self=True)[:-1]


def at_rows(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """`[B, ...]`: `values` `[N, ...]` at `rows` `[B]`; where the row is N, 0, the value of no choice."""
    nothing = values.new_zeros((1, *values.shape[1:]))
    return torch.cat([values, nothing]).index_select(0, rows)


def _box(values: torch.Tensor, sets: RaggedActions) -> torch.Tensor:
    """`[B, A, ...]`, the same numbers."""
    return values.view(sets.count, sets.width or 0, *values.shape[1:])
