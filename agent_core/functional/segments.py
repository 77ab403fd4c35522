"""Reductions over ragged sets that lie one after the other in a flat table.

N rows belong to B sets; `segments`: `[N]` int64 names the set of each row (`RaggedActions.segments`).
Nothing here pads, so a set's result does not depend on how large the other sets are.
"""

from __future__ import annotations

import torch


def segment_sum(values: torch.Tensor, segments: torch.Tensor, count: int) -> torch.Tensor:
    """`[B]` sums of `values` `[N]` per set; 0 for an empty set. `count`: B."""
    return values.new_zeros(count).index_add(0, segments, values)


def segment_max(values: torch.Tensor, segments: torch.Tensor, count: int) -> torch.Tensor:
    """`[B]` maxima of `values` `[N]` per set; 0 for an empty set, the value of having no choice."""
    start = values.new_zeros(count)
    return start.scatter_reduce(0, segments, values, reduce="amax", include_self=False)


def segment_softmax(values: torch.Tensor, segments: torch.Tensor, count: int) -> torch.Tensor:
    """`[N]` probabilities proportional to exp(`values`), summing to 1 within each set.

    The maximum of each set is subtracted first, so large values do not overflow.
    """
    shifted = torch.exp(values - segment_max(values, segments, count).index_select(0, segments))
    return shifted / segment_sum(shifted, segments, count).index_select(0, segments)
