"""Distinct action sets, each stored once, counted, and dropped when nobody refers to it any more."""

from __future__ import annotations

from hashlib import blake2b
from heapq import heappop, heappush
from typing import Self

import numpy as np
import torch

from agent_core.functional.blocks import ends, spans
from agent_core.interfaces import TrainingState
from agent_core.replay.tables import widened
from agent_core.types import Floats, Integers


class ActionSetStore:
    """An arena of feature rows, and per set its place in it. Set 0 is the empty one.

    Sets are recognized by a 128-bit hash of their bytes: a collision is less likely than a memory
    error. When the arena is full the sets still alive are moved together, into a larger one if they fill
    more than three quarters of it, so that adding stays O(rows added) on average.
    """

    empty = 0

    def __init__(self, action_dim: int) -> None:
        self._arena = np.zeros((_FIRST_ROWS, action_dim), np.float32)
        self.used = 0
        self._live = 0
        self._ids: dict[bytes, int] = {}
        self._keys: list[bytes | None] = [None]
        # A heap: which ids are in use depends on what is stored, not on the order in which others left.
        self._free: list[int] = []
        # Per set: first row in the arena, number of rows, references.
        self._table: Integers = np.zeros((_FIRST_SETS, 3), np.int64)

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

    def intern(self, features: Floats, offsets: Integers) -> Integers:
        """The ids `[M]` of the sets `features[offsets[m]:offsets[m + 1]]`, each with one more reference."""
        ids: list[int] = []
        at, last, set_id = int(offsets[0]), b"", self.empty
        for end in offsets[1:].tolist():
            content = features[at:end].tobytes()
            # Most sets are those of the step before: a comparison costs a tenth of a hash.
            if content != last or not ids:
                set_id, last = self._id_of(content, features[at:end]), content
            ids.append(set_id)
            at = end
        interned = np.array(ids, np.int64)
        self.hold(interned)
        return interned

    def hold(self, sets: Integers) -> None:
        """One more reference to each of `sets` `[M]`, which are stored already."""
        np.add.at(self._table[:, _REFERENCES], sets, 1)

    def release(self, sets: Integers) -> None:
        """Takes one reference to each of `sets` `[M]` back; the last one frees a set."""
        references = self._table[:, _REFERENCES]
        np.subtract.at(references, sets, 1)
        for set_id in set(sets[references[sets] == 0].tolist()) - {self.empty}:
            self._drop(set_id)

    def gather(self, sets: Integers) -> tuple[Floats, Integers]:
        """The sets `[M]` one after the other: features `[N, D]`, and the size `[M]` of each."""
        places = self._table.take(sets, 0)
        starts, sizes = places[:, _START], places[:, _LENGTH]
        return self._arena.take(spans(starts, sizes), 0), sizes

    def places(self, sets: Integers) -> tuple[Integers, Integers]:
        """Where in the arena the sets `[M]` begin, and how long they are, `[M]` each."""
        found = self._table.take(sets, 0)
        return found[:, _START], found[:, _LENGTH]

    @property
    def arena(self) -> Floats:
        """`[R, D]`, of which the first `used` rows are written, once each: when sets are moved, it is another
        arena."""
        return self._arena

    def numbered(self, sets: Integers) -> tuple[Integers, TrainingState]:
        """`sets` `[M]` by other numbers, which say in what order they first appear, and what those mean.

        Ids depend on what was stored before and is gone; these numbers do not.
        """
        first = np.full(len(self._keys), -1, np.int64)
        first[sets[::-1]] = np.arange(len(sets))[::-1]  # of several, the last one written stays
        known = np.flatnonzero(first >= 0)
        order = known[np.argsort(first[known])]
        number = np.empty(len(self._keys), np.int64)
        number[order] = np.arange(len(order))
        start, sizes = self._table[order, _START], self._table[order, _LENGTH]
        features = torch.from_numpy(self._arena[spans(start, sizes)])
        return number[sets], {"features": features, "offsets": torch.from_numpy(ends(sizes))}

    @classmethod
    def of_numbered(cls, numbers: Integers, state: TrainingState) -> tuple[Self, Integers]:
        """What `numbered` gave back as a store, and the ids `[M]` of `numbers` `[M]`, each held."""
        store = cls(state["features"].shape[1])
        of_number = store.intern(state["features"].numpy(), state["offsets"].numpy())
        sets = of_number[numbers]
        store.hold(sets)
        store.release(of_number)
        return store, sets

    def _id_of(self, content: bytes, features: Floats) -> int:
        if not len(features):
            return self.empty
        key = blake2b(content, digest_size=16).digest()
        set_id = self._ids.get(key)
        return self._add(key, features) if set_id is None else set_id

    def _add(self, key: bytes, features: Floats) -> int:
        self._make_room(len(features))
        set_id = heappop(self._free) if self._free else self._new_id()
        self._table[set_id] = (self.used, len(features), 0)
        self._arena[self.used : self.used + len(features)] = features
        self.used += len(features)
        self._live += len(features)
        self._ids[key] = set_id
        self._keys[set_id] = key
        return set_id

    def _drop(self, set_id: int) -> None:
        key = self._keys[set_id]
        assert key is not None
        del self._ids[key]
        self._keys[set_id] = None
        heappush(self._free, set_id)
        self._live -= int(self._table[set_id, _LENGTH])
        self._table[set_id, _LENGTH] = 0

    def _new_id(self) -> int:
        if len(self._keys) == len(self._table):
            self._table = widened(self._table, 2 * len(self._table))
        self._keys.append(None)
        return len(self._keys) - 1

    def _make_room(self, rows: int) -> None:
        if self.used + rows <= len(self._arena):
            return
        room = len(self._arena)
        while self._live + rows > 3 * room // 4:
            room *= 2
        self._compact(room)

    def _compact(self, room: int) -> None:
        """Moves live sets together, in the order of their ids, into an arena of `room` rows."""
        lengths = self._table[:, _LENGTH]
        rows = spans(self._table[:, _START], lengths)
        self._arena = widened(self._arena[rows], room)
        self._table[:, _START] = np.cumsum(lengths) - lengths
        self.used = self._live


_START, _LENGTH, _REFERENCES = 0, 1, 2
_FIRST_ROWS, _FIRST_SETS = 256, 64
_KEY_BYTES = 100
