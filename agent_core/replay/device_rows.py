"""The table that replays share, with a copy on the device of what batches are made of.

Unmeasured: no GPU was at hand. What is tested, on the host, is that batches and checkpoints are those of the
table without a copy, bit by bit.
"""

from __future__ import annotations

import numpy as np
import torch

from agent_core.functional.blocks import width_of
from agent_core.functional.side_stream import SideStream, side_stream
from agent_core.replay.columns import (
    ACTION,
    KEY,
    NEXT_ACTION,
    alone,
    constants,
    sets_of,
)
from agent_core.replay.device_table import DeviceTable
from agent_core.replay.packed_rows import PackedRows
from agent_core.replay.upload import Upload
from agent_core.types import ProblemSpec, RaggedActions, TransitionBatch


def rows_on(
    device: torch.device,
    spec: ProblemSpec,
    *,
    capacity: int,
    capacity_bytes: int | None = None,
    notes: int = 0,
) -> PackedRows:
    """A table whose batches are on `device`, in the form that is right there."""
    if device.type == "cpu":
        return PackedRows(spec, capacity=capacity, capacity_bytes=capacity_bytes, notes=notes)
    stream = side_stream(device)
    return DeviceRows(
        spec, device, stream, capacity=capacity, capacity_bytes=capacity_bytes, notes=notes
    )


class DeviceRows(PackedRows):
    """Rows, links and action sets lie on the device too, so a batch costs one copy of a few integers for each of
    its rows; new transitions are sent when the next batch is drawn, by `stream`.

    The tables of the host stay the truth: interning, forgetting, counting, notes and checkpoints work there, and
    checkpoints are those of `PackedRows`. With the numbers of a batch goes where its sets lie: how many actions
    there are must be known on the host, so it has looked that up. Notes on the device are out of date; no
    batch has them.
    """

    def __init__(
        self,
        spec: ProblemSpec,
        device: torch.device,
        stream: SideStream,
        *,
        capacity: int,
        capacity_bytes: int | None = None,
        notes: int = 0,
    ) -> None:
        super().__init__(spec, capacity=capacity, capacity_bytes=capacity_bytes, notes=notes)
        self._device = device
        self._rows_there = DeviceTable[np.float32](device, stream)
        self._links_there = DeviceTable[np.int64](device, stream)
        self._arena_there = DeviceTable[np.float32](device, stream)
        self._columns = Upload(stream)

    def sent(self, column: torch.Tensor) -> torch.Tensor:
        return self._columns.sent(column)

    def gather(self, numbers: torch.Tensor, last: torch.Tensor | None = None) -> TransitionBatch:
        # Like that of the host, but in torch: there these columns take 1.9 times as long as in numpy, for 256 rows.
        drawn = [numbers] if last is None else [numbers, last]
        places = self._places(drawn[0], drawn[-1])
        sent = self.sent(torch.cat([torch.stack(drawn), places]))
        found = [self._found(one) for one in sent[: len(drawn)]]
        (row, link), (last_row, last_link) = found[0], found[-1]
        state, _, facts, action = row.split_with_sizes(self._widths, 1)
        reward, cost, signed = facts.unbind(1)
        if self._spec.box is None:
            start, next_start, size, next_size = sent[len(drawn) :]
            actions = self._actions(start, size, places[2])
            next_actions = self._actions(next_start, next_size, places[3])
            chosen, next_action = link[:, ACTION], last_link[:, NEXT_ACTION]
        else:
            actions, chosen, next_actions, next_action = alone(action)
        return TransitionBatch(
            state=state,
            actions=actions,
            action=chosen,
            reward=reward,
            cost=cost,
            next_state=last_row.split_with_sizes(self._widths, 1)[1],
            next_actions=next_actions,
            bootstraps=(last_row[:, self._signed] > 0).float(),
            propensity=signed.abs(),
            next_action=next_action,
            weight=constants(len(numbers), self._device).ones,
            key=link[:, KEY],
            row=sent[0],
        )

    def _places(self, numbers: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """`[4, B]`, on the host: where the sets of `numbers` and those after `last` begin in the arena, and their
        sizes; `[0, B]` in a box."""
        if self._spec.box is not None:
            return numbers.new_empty(0, len(numbers))
        _, links = self._at(numbers)
        last_rows, last_links = self._at(last)
        bootstraps = last_rows[:, self._signed] > 0
        sets = sets_of(links, last_links, bootstraps, self._sets.empty)
        return torch.from_numpy(np.stack(self._sets.places(sets))).view(4, len(numbers))

    def _found(self, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows `[B, W]` and links `[B, L]` of `numbers` `[B]`, which are on the device, as they are."""
        rows = self._rows_there.of(self._rows, self.first, self.end)
        links = self._links_there.of(self._links, self.first, self.end)
        slots = numbers % len(rows)
        return rows.index_select(0, slots), links.index_select(0, slots)

    def _actions(
        self, start: torch.Tensor, size: torch.Tensor, known: torch.Tensor
    ) -> RaggedActions:
        """The sets at `start` `[B]` in the arena, of `size` `[B]`, on the device; `known`: `size`, on the host."""
        sizes = known.numpy()
        count = int(sizes.sum())
        arena = self._arena_there.of(self._sets.arena, 0, self._sets.used)
        offsets = torch.nn.functional.pad(size.cumsum(0), (1, 0))
        rows = torch.repeat_interleave(start - offsets[:-1], size, output_size=count)
        rows += torch.arange(count, device=self._device)
        return RaggedActions(arena.index_select(0, rows), offsets, width_of(sizes))
