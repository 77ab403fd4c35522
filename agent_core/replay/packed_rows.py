"""The newest transitions in packed rows, with interned action sets: the table that replays share.

A transition is one float32 row and five integers; the action sets lie in an arena, each distinct one
once, and are counted. Where all decisions of a while share their actions, a transition costs the two
states and a few dozen bytes, whatever the number of actions. A continuous action lies in the row itself, and
one integer is left.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from agent_core.errors import SnapshotError
from agent_core.functional.blocks import ends, part, width_of
from agent_core.functional.flat_state import below, under
from agent_core.interfaces import TrainingState
from agent_core.replay.action_sets import ActionSetStore
from agent_core.replay.columns import (
    ACTION,
    KEY,
    NEXT_ACTION,
    SET_LINKS,
    SETS,
    Choice,
    alone,
    constants,
    sets_of,
)
from agent_core.types import (
    Floats,
    Integers,
    Mask,
    ProblemSpec,
    RaggedActions,
    TransitionBatch,
    TransitionBlock,
)

_Number = TypeVar("_Number", np.float32, np.int64)


class PackedRows:
    """Transitions by number: the first ever stored has 0, the next 1, and so on; none is given twice.

    `first` is the oldest that is remembered, `end` what the next one gets. `capacity`: how many are
    remembered. `capacity_bytes`: how many bytes they may take, the tables' room for growth not counted;
    the newest is kept in any case. `notes`: integers that the owner keeps about each transition.

    Of the tables, `rows` is `[M, 2 S + 3]` float32 = state, next state, reward, cost, and the propensity,
    which is above 0 and so has a sign to spare: negative where the next state's value does not count. `links`
    is `[M, 5 + notes]` int64 = key, action set, next action set, positions of the chosen and of the next action,
    notes. In a box the row ends with the action, `[M, 2 S + 3 + D]`, and of the links the key and the notes are
    left: there is one action, and no learner of continuous ones asks what was done next. Number i lies in row
    i modulo M. M doubles up to `capacity`, so an idle policy costs little. All of it is in host memory.
    """

    def __init__(
        self,
        spec: ProblemSpec,
        *,
        capacity: int,
        capacity_bytes: int | None = None,
        notes: int = 0,
    ) -> None:
        self._spec = spec
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._sets = ActionSetStore(spec.action_dim)
        in_row, links = (0, SET_LINKS) if spec.box is None else (spec.action_dim, 1)
        self._own_links = links
        self._signed = 2 * spec.state_dim + 2
        self._widths = [spec.state_dim, spec.state_dim, 3, in_row]
        room = min(capacity, _FIRST_ROWS)
        self._rows = np.zeros((room, sum(self._widths)), np.float32)
        self._links = np.zeros((room, links + notes), np.int64)
        self.first = 0
        self.end = 0

    def __len__(self) -> int:
        return self.end - self.first

    @property
    def most(self) -> int:
        """More than these are never remembered."""
        if self._capacity_bytes is None:
            return self._capacity
        return min(self._capacity, max(1, self._capacity_bytes // self._bytes_of_one))

    @property
    def size_bytes(self) -> int:
        """Bytes of all tables, including room for growth."""
        return self._rows.nbytes + self._links.nbytes + self._sets.size_bytes

    @property
    def content_bytes(self) -> int:
        """Bytes of what is remembered: the part of `size_bytes` that `capacity_bytes` limits."""
        return len(self) * self._bytes_of_one + self._sets.content_bytes

    @property
    def _bytes_of_one(self) -> int:
        of_one: int = self._rows[0].nbytes + self._links[0].nbytes
        return of_one

    @property
    def distinct_sets(self) -> int:
        """How many different action sets are stored."""
        return len(self._sets)

    def extend(self, block: TransitionBlock, notes: Integers | None = None) -> None:
        """Stores a block, forgetting the oldest where it must; `notes`: `[T, notes]`, if there are any."""
        pieces = min(self._capacity, _PIECE)
        for start in range(0, len(block), pieces):
            piece = part(block, start, start + pieces)
            links = self._linked(piece)
            if notes is not None:
                links[:, self._own_links :] = notes[start : start + pieces]
            self._store(self._packed(piece), links)

    def append_copy(
        self,
        number: int,
        *notes: int,
        state: Floats,
        next_state: Floats,
        reward: float,
        bootstraps: bool,
    ) -> None:
        """Stores transition `number` once more, in these points another."""
        slot, dim = number % len(self._rows), self._spec.state_dim
        row, links = self._rows[[slot]], self._links[[slot]]
        row[:, :dim], row[:, dim : 2 * dim] = state, next_state
        row[:, 2 * dim] = reward
        row[:, self._signed] = np.copysign(row[:, self._signed], 1 if bootstraps else -1)
        links[:, self._own_links :] = notes
        self._sets.hold(self._sets_in(links).ravel())
        self._store(row, links)

    def numbers(self) -> torch.Tensor:
        """`[len]` int64: all that are remembered, oldest first."""
        return torch.arange(self.first, self.end)

    def note(self, numbers: torch.Tensor, column: int) -> torch.Tensor:
        """`[B]` int64: the owner's note in `column` of each of `numbers` `[B]`."""
        slots = numbers % len(self._links)
        return torch.from_numpy(self._links)[:, self._own_links + column].index_select(0, slots)

    def set_note(self, number: int, column: int, value: int) -> None:
        """Replaces one note."""
        self._links[number % len(self._links), self._own_links + column] = value

    def rewards(self, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`[B]` rewards and `[B]` costs of `numbers` `[B]`."""
        start = 2 * self._spec.state_dim
        at = torch.from_numpy(self._rows)[:, start : start + 2]
        reward, cost = at.index_select(0, numbers % len(self._rows)).unbind(1)
        return reward, cost

    def steps(self, numbers: torch.Tensor) -> tuple[Floats, Floats, Integers]:
        """`[B, S]` states, `[B, S]` next states and `[B]` keys of `numbers` `[B]`, on the host."""
        rows, links = self._at(numbers)
        dim = self._spec.state_dim
        return rows[:, :dim], rows[:, dim : 2 * dim], links[:, KEY]

    def sent(self, column: torch.Tensor) -> torch.Tensor:
        """`column`, which is on the host, where batches are; it must not be changed afterwards."""
        return column

    def gather(self, numbers: torch.Tensor, last: torch.Tensor | None = None) -> TransitionBatch:
        """`numbers` `[B]` as a batch. What comes next is what came after `last` `[B]`, if that is given."""
        rows, links = self._at(numbers)
        last_rows, last_links = (rows, links) if last is None else self._at(last)
        state, next_state, facts, action = torch.from_numpy(rows).split_with_sizes(self._widths, 1)
        reward, cost, _ = facts.unbind(1)
        if last is not None:
            next_state = torch.from_numpy(last_rows[:, self._widths[0] : 2 * self._widths[0]])
        signed, last_signed = rows[:, self._signed], last_rows[:, self._signed]
        bootstraps = last_signed > 0
        if self._spec.box is None:
            choice = self._choice(links, last_links, bootstraps)
        else:
            choice = alone(action)
        actions, chosen, next_actions, next_action = choice
        return TransitionBatch(
            state=state,
            actions=actions,
            action=chosen,
            reward=reward,
            cost=cost,
            next_state=next_state,
            next_actions=next_actions,
            bootstraps=torch.from_numpy(bootstraps.astype(np.float32)),
            propensity=torch.from_numpy(np.abs(signed)),
            next_action=next_action,
            weight=constants(len(rows), numbers.device).ones,
            key=torch.from_numpy(links[:, KEY]),
            row=numbers,
        )

    def training_state(self) -> TrainingState:
        """Rows oldest first, with their sets by number: a function of what is remembered alone."""
        slots = self.numbers().numpy() % len(self._rows)
        links = self._links[slots]
        held = self._sets_in(links)
        numbers, sets = self._sets.numbered(held.ravel())
        held[:] = numbers.reshape(held.shape)
        return {
            "rows": torch.from_numpy(self._rows[slots]),
            "links": torch.from_numpy(links),
            "numbers": torch.tensor([self.first, self.end, self._capacity]),
        } | under("sets", sets)

    def load_training_state(self, state: TrainingState) -> None:
        """Raises: SnapshotError: it was saved with another capacity."""
        first, end, capacity = state["numbers"].tolist()
        if capacity != self._capacity:
            detail = f"the replay was saved with capacity {capacity}, this one has {self._capacity}"
            raise SnapshotError("schema", f"{detail}; restore the old capacity or start afresh")
        self.first, self.end = first, end
        room = min(capacity, max(len(self), _FIRST_ROWS))
        slots = self.numbers().numpy() % room
        links = state["links"].numpy().copy()
        held = self._sets_in(links)
        self._sets, sets = ActionSetStore.of_numbered(held.ravel(), below("sets", state))
        held[:] = sets.reshape(held.shape)
        self._rows = _spread(state["rows"].numpy(), slots, room)
        self._links = _spread(links, slots, room)

    def _packed(self, block: TransitionBlock) -> Floats:
        """The rows `[T, W]` of a block."""
        facts, dim = block.facts, self._spec.state_dim
        rows = np.empty((len(block), self._rows.shape[1]), np.float32)
        rows[:, :dim] = block.state
        rows[:, dim : 2 * dim] = block.next_state
        rows[:, 2 * dim] = facts["reward"]
        rows[:, 2 * dim + 1] = facts["cost"]
        propensity = facts["propensity"].clip(_SMALLEST, _LARGEST)
        rows[:, self._signed] = np.where(block.bootstraps, propensity, -propensity)
        if self._spec.box is not None:
            rows[:, 2 * dim + 3 :] = block.features[block.offsets[:-1:2]]
        return rows

    def _linked(self, block: TransitionBlock) -> Integers:
        """The links `[T, L]` of a block, with room for notes; its sets are held from here on."""
        facts = block.facts
        links = np.empty((len(block), self._links.shape[1]), np.int64)
        links[:, KEY] = facts["key"]
        if self._spec.box is None:
            links[:, SETS] = self._sets.intern(block.features, block.offsets).reshape(-1, 2)
            links[:, ACTION] = facts["action"]
            links[:, NEXT_ACTION] = facts["next_action"]
        return links

    def _store(self, rows: Floats, links: Integers) -> None:
        """The sets in `links` are held already: one that the oldest shares is not dropped and stored again."""
        end = self.end + len(rows)
        self._forget(max(self.first, end - self._capacity))
        if end - self.first > len(self._rows):
            self._grow(end - self.first)
        slot = self.end % len(self._rows)
        fitting = len(self._rows) - slot
        for at, some in ((slot, slice(fitting)), (0, slice(fitting, None))):
            self._rows[at : at + len(rows[some])] = rows[some]
            self._links[at : at + len(rows[some])] = links[some]
        self.end = end
        limit = self._capacity_bytes
        while limit is not None and self.content_bytes > limit and len(self) > 1:
            self._forget(self.first + 1)

    def _forget(self, first: int) -> None:
        """Everything before number `first`."""
        if first == self.first:
            return
        slots = np.arange(self.first, first) % len(self._links)
        self._sets.release(self._sets_in(self._links[slots]).ravel())
        self.first = first

    def _grow(self, needed: int) -> None:
        room, old = len(self._rows), len(self._rows)
        while room < needed:
            room = min(self._capacity, 2 * room)
        numbers = self.numbers().numpy()
        self._rows = _spread(self._rows[numbers % old], numbers % room, room)
        self._links = _spread(self._links[numbers % old], numbers % room, room)

    def _sets_in(self, links: Integers) -> Integers:
        """`[M, 2]`: the sets in `links` `[M, L]`, as a view; `[M, 0]` in a box."""
        return links[:, SETS] if self._spec.box is None else links[:, :0]

    def _at(self, numbers: torch.Tensor) -> tuple[Floats, Integers]:
        # In numpy: on a batch of 256 rows a call of torch costs up to five times as much.
        slots = self._slots(numbers.numpy())
        return self._rows.take(slots, 0), self._links.take(slots, 0)

    def _slots(self, numbers: Integers) -> Integers:
        """Where `numbers`, all of them remembered, lie. They wrap around once at most, and to see which do costs
        less than to divide."""
        room = len(self._rows)
        slots = numbers - (self.first - self.first % room)
        slots[slots >= room] -= room
        return slots

    def _choice(self, links: Integers, last_links: Integers, bootstraps: Mask) -> Choice:
        """From one look into the arena for both sets of every transition."""
        sets = sets_of(links, last_links, bootstraps, self._sets.empty)
        features, sizes = self._sets.gather(sets)
        now, then = sizes[: len(links)], sizes[len(links) :]
        split = int(now.sum())
        return (
            self._ragged(features[:split], now),
            torch.from_numpy(links[:, ACTION]),
            self._ragged(features[split:], then),
            torch.from_numpy(last_links[:, NEXT_ACTION]),
        )

    def _ragged(self, features: Floats, sizes: Integers) -> RaggedActions:
        return RaggedActions(
            torch.from_numpy(features), torch.from_numpy(ends(sizes)), width_of(sizes)
        )


_FIRST_ROWS = 1024
_PIECE = 128  # stored at once: what a long block needs of room before the oldest go is little
_SMALLEST, _LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


def _spread(rows: npt.NDArray[_Number], slots: Integers, room: int) -> npt.NDArray[_Number]:
    """`[room, ...]`: `rows` at `slots`, zeros elsewhere (not resident until written)."""
    table = np.zeros((room, rows.shape[1]), rows.dtype)
    table[slots] = rows
    return table
