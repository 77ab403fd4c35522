"""Batches whose action sets differ in size: rows of them, and tables of sizes from a short list."""

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


def room_for(rows: int) -> int:
    """The smallest of 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, ... that is not below `rows`.

    Four sizes for each doubling: less than a quarter more than is needed, and a tenth on average.
    """
    step = 1 << max(0, rows.bit_length() - 3)
    return max(1, -(-rows // step) * step)


def largest_part(actions: RaggedActions, count: int) -> int:
    """How many actions the largest of `count` parts has; waits for the device that they are on."""
    bounds = actions.offsets[:: actions.count // count]
    return int(bounds.diff().max())


def with_room(actions: RaggedActions, count: int, room: int) -> RaggedActions:
    """The same sets in a table of a known size, whose `count` parts will have `room` rows each.

    `room`: not less than `largest_part`. Raises: ValueError: there are more actions than all tables have rows.
    """
    missing = count * room - len(actions.features)
    if missing < 0:
        raise ValueError(
            f"{len(actions.features)} actions do not fit in {count} tables of {room} rows: give more room"
        )
    features = torch.nn.functional.pad(actions.features, (0, 0, 0, missing))
    return RaggedActions(features, actions.offsets, room=room)
