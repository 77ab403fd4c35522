"""Distinct action sets, each stored once, counted, and dropped when nobody refers to it any more."""

from __future__ import annotations

from hashlib import blake2b
from heapq import heappop, heappush

import numpy as np
import numpy.typing as npt
import torch

from agent_core.interfaces import TrainingState
from agent_core.replay.tables import widened
from agent_core.types import Floats

_Integers = npt.NDArray[np.int64]


class ActionSetStore:
    """An arena of feature rows, and per set its place in it. Set 0 is the empty one.

    Sets are recognized by a 128-bit hash of their bytes: a collision is less likely than a memory
    error. When the arena is full the sets still alive are moved together, into a larger one if they fill
    more than three quarters of it, so that adding stays O(rows added) on average.
    """

    empty = 0

    def __init__(self, action_dim: int) -> None:
        self._arena = np.zeros((_FIRST_ROWS, action_dim), np.float32)
        self._used = 0
        self._live = 0
        self._ids: dict[bytes, int] = {}
        self._keys: list[bytes | None] = [None]
        # A heap: the next id depends on which are free, not on the order in which they became so.
        self._free: list[int] = []
        # Per set: first row in the arena, number of rows, references.
        self._table: _Integers = np.zeros((_FIRST_SETS, 3), np.int64)

    @property
    def size_bytes(self) -> int:
        """Bytes of arena and table, and about 100 per set for its key."""
        return self._arena.nbytes + self._table.nbytes + _KEY_BYTES * len(self._ids)

    @property
    def content_bytes(self) -> int:
        """Bytes of the sets that somebody refers to: what a table without room to spare would take."""
        of_one: int = self._table[0].nbytes + _KEY_BYTES
        of_row: int = self._arena[0].nbytes
        return self._live * of_row + len(self._ids) * of_one

    def __len__(self) -> int:
        """Distinct sets that somebody refers to, without the empty one."""
        return len(self._ids)

    def intern(self, features: Floats) -> int:
        """The id of the set with these features `[A, D]`, with one more reference."""
        if not len(features):
            return self.empty
        key = _hash(features)
        set_id = self._ids.get(key)
        if set_id is None:
            set_id = self._add(key, features)
        self._table[set_id, _REFERENCES] += 1
        return set_id

    def hold(self, set_id: int) -> None:
        """One more reference to a set that is stored already."""
        if set_id != self.empty:
            self._table[set_id, _REFERENCES] += 1

    def release(self, set_id: int) -> None:
        """Takes one reference back; the last one frees the set."""
        if set_id == self.empty:
            return
        self._table[set_id, _REFERENCES] -= 1
        if self._table[set_id, _REFERENCES] == 0:
            key = self._keys[set_id]
            assert key is not None
            del self._ids[key]
            self._keys[set_id] = None
            heappush(self._free, set_id)
            self._live -= int(self._table[set_id, _LENGTH])

    def gather(self, sets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The sets `[B]` one after the other: features `[N, D]` and offsets `[B + 1]`."""
        table = torch.from_numpy(self._table).index_select(0, sets)
        offsets = torch.zeros(len(sets) + 1, dtype=torch.int64)
        torch.cumsum(table[:, _LENGTH], 0, out=offsets[1:])
        shift = table[:, _START] - offsets[:-1]
        total = int(offsets[-1])
        rows = torch.repeat_interleave(shift, table[:, _LENGTH], output_size=total)
        rows += torch.arange(total)
        return torch.from_numpy(self._arena).index_select(0, rows), offsets

    def training_state(self) -> TrainingState:
        """Arena without holes, and the table."""
        self._compact(len(self._arena))
        return {
            "arena": torch.from_numpy(self._arena[: self._used].copy()),
            "table": torch.from_numpy(self._table[: len(self._keys)].copy()),
        }

    def load_training_state(self, state: TrainingState) -> None:
        arena, table = state["arena"].numpy(), state["table"].numpy()
        self._arena = widened(arena, max(len(arena), _FIRST_ROWS))
        self._table = widened(table, max(len(table), _FIRST_SETS))
        self._used = self._live = len(arena)
        self._keys = [self._key(row) for row in self._table[: len(table)]]
        self._ids = {key: i for i, key in enumerate(self._keys) if key is not None}
        self._free = [i for i, key in enumerate(self._keys) if key is None and i != self.empty]

    def _key(self, row: _Integers) -> bytes | None:
        start, length, references = row.tolist()
        if references == 0:
            return None
        return _hash(self._arena[start : start + length])

    def _add(self, key: bytes, features: Floats) -> int:
        self._make_room(len(features))
        set_id = heappop(self._free) if self._free else self._new_id()
        self._table[set_id] = (self._used, len(features), 0)
        self._arena[self._used : self._used + len(features)] = features
        self._used += len(features)
        self._live += len(features)
        self._ids[key] = set_id
        self._keys[set_id] = key
        return set_id

    def _new_id(self) -> int:
        if len(self._keys) == len(self._table):
            self._table = widened(self._table, 2 * len(self._table))
        self._keys.append(None)
        return len(self._keys) - 1

    def _make_room(self, rows: int) -> None:
        if self._used + rows <= len(self._arena):
            return
        room = len(self._arena)
        while self._live + rows > 3 * room // 4:
            room *= 2
        self._compact(room)

    def _compact(self, room: int) -> None:
        """Moves live sets together, in the order of their ids, into an arena of `room` rows."""
        lengths = np.where(self._table[:, _REFERENCES] > 0, self._table[:, _LENGTH], 0)
        starts = np.cumsum(lengths) - lengths
        rows = np.repeat(self._table[:, _START] - starts, lengths) + np.arange(lengths.sum())
        self._arena = widened(self._arena[rows], room)
        self._table[:, _START] = starts
        self._table[:, _LENGTH] = lengths
        self._used = self._live


_START, _LENGTH, _REFERENCES = 0, 1, 2
_FIRST_ROWS, _FIRST_SETS = 256, 64
_KEY_BYTES = 100


def _hash(features: Floats) -> bytes:
    return blake2b(np.ascontiguousarray(features, np.float32).data, digest_size=16).digest()
