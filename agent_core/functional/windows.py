"""A window of what was seen, as one flat vector.

It has L rows of F numbers, oldest first. The first number of a row is 1, or 0 where the row is
absent: at the start of an episode rows are missing, always the oldest ones. The last row is the
present; it counts as there whatever its flag says, so that the zeros that stand for "nothing
follows" can be read too.
"""

from __future__ import annotations

import torch

from agent_core.types import Floats


def rows_and_counts(windows: torch.Tensor, row_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`[B, L, F - 1]` rows without their flags, and how many are there: `[B]` int64, 1 to L.

    `windows`: `[B, L * F]`. `row_dim`: F.
    """
    table = windows.unflatten(1, (-1, row_dim))
    counts = table[:, :, 0].sum(1).long().clamp(1, table.shape[1])
    return table[:, :, 1:], counts


def oldest_first(rows: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """`[B, L, X]`: `rows` rotated: the oldest that is there comes first, absent ones last.

    `rows`: `[B, L, X]`. `counts`: `[B]` int64.
    """
    length = rows.shape[1]
    start = (length - counts).unsqueeze(1)
    order = (start + torch.arange(length, device=rows.device)) % length
    return rows.gather(1, order.unsqueeze(2).expand_as(rows))


def rows_there(window: Floats, row_dim: int) -> Floats:
    """`[n, F - 1]`: the rows of one window `[L * F]` that are there, without flags. A view."""
    count = max(1, int(window[::row_dim].sum()))
    return window.reshape(-1, row_dim)[-count:, 1:]
