"""The newest transitions in packed rows, with interned action sets: the table that replays share.

A transition is one float32 row and five integers; the action sets lie in an arena, each distinct one
once, and are counted. Where all decisions of a while share their actions, a transition costs the two
states and a few dozen bytes, whatever the number of actions.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from agent_core.errors import SnapshotError
from agent_core.functional.flat_state import below, under
from agent_core.functional.keys import key_of
from agent_core.interfaces import TrainingState
from agent_core.replay.action_sets import ActionSetStore
from agent_core.types import Floats, ProblemSpec, RaggedActions, Transition, TransitionBatch

_Number = TypeVar("_Number", np.float32, np.int64)
Integers = npt.NDArray[np.int64]


class PackedRows:
    """Transitions by number: the first ever stored has 0, the next 1, and so on; none is given twice.

    `first` is the oldest that is remembered, `end` what the next one gets. `capacity`: how many are
    remembered. `capacity_bytes`: how many bytes they may take, the tables' room for growth not counted;
    the newest is kept in any case. `notes`: integers that the owner keeps about each transition.

    Of the tables, `rows` is `[M, 2 S + 4]` float32 = state, next state, reward, cost, propensity,
    bootstraps; `links` is `[M, 5 + notes]` int64 = action set, next action set, positions of the chosen and
    of the next action, key, notes. Number i lies in row i modulo M. M doubles up to `capacity`, so an idle
    policy costs little. The content stays in host memory; `device` is where batches go.
    """

    def __init__(
        self,
        spec: ProblemSpec,
        device: torch.device,
        *,
        capacity: int,
        capacity_bytes: int | None = None,
        notes: int = 0,
    ) -> None:
        self._state_dim = spec.state_dim
        self._device = device
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._sets = ActionSetStore(spec.action_dim)
        self._rows = np.zeros((min(capacity, _FIRST_ROWS), 2 * spec.state_dim + 4), np.float32)
        self._links = np.zeros((len(self._rows), _NOTES + notes), np.int64)
        self.first = 0
        self.end = 0

    def __len__(self) -> int:
        return self.end - self.first

    @property
    def size_bytes(self) -> int:
        """Bytes of all tables, including room for growth."""
        return self._rows.nbytes + self._links.nbytes + self._sets.size_bytes

    @property
    def content_bytes(self) -> int:
        """Bytes of what is remembered: the part of `size_bytes` that `capacity_bytes` limits."""
        of_one: int = self._rows[0].nbytes + self._links[0].nbytes
        return len(self) * of_one + self._sets.content_bytes

    @property
    def distinct_sets(self) -> int:
        """How many different action sets are stored."""
        return len(self._sets)

    def append(self, transition: Transition, *notes: int) -> int:
        """Stores one transition, forgetting the oldest where it must; returns its number."""
        following, has_next = transition.next_actions, transition.next_state is not None
        row = np.zeros(self._rows.shape[1], np.float32)
        dim = self._state_dim
        row[:dim] = transition.state
        if transition.next_state is not None:
            row[dim : 2 * dim] = transition.next_state
        bootstraps = has_next and not transition.terminated
        row[2 * dim :] = transition.reward, transition.cost, transition.propensity, bootstraps
        return self._store(
            row,
            (
                self._sets.intern(transition.actions.features),
                self._sets.empty if following is None else self._sets.intern(following.features),
                transition.action,
                -1 if transition.next_action is None else transition.next_action,
                key_of(transition.decision_id),
                *notes,
            ),
        )

    def append_copy(
        self,
        number: int,
        *notes: int,
        state: Floats,
        next_state: Floats,
        reward: float,
        bootstraps: bool,
    ) -> int:
        """Stores transition `number` once more, in these points another; returns the new number."""
        dim = self._state_dim
        row, links = self._rows[self._slot(number)].copy(), self._links[self._slot(number)]
        row[:dim], row[dim : 2 * dim] = state, next_state
        row[2 * dim], row[2 * dim + 3] = reward, bootstraps
        for set_id in links[:2].tolist():
            self._sets.hold(set_id)
        return self._store(row, (*links[:_NOTES].tolist(), *notes))

    def numbers(self) -> torch.Tensor:
        """`[len]` int64: all that are remembered, oldest first."""
        return torch.arange(self.first, self.end)

    def note(self, numbers: torch.Tensor, column: int) -> torch.Tensor:
        """`[B]` int64: the owner's note in `column` of each of `numbers` `[B]`."""
        slots = numbers % len(self._links)
        return torch.from_numpy(self._links)[:, _NOTES + column].index_select(0, slots)

    def set_note(self, number: int, column: int, value: int) -> None:
        """Replaces one note."""
        self._links[self._slot(number), _NOTES + column] = value

    def rewards(self, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`[B]` rewards and `[B]` costs of `numbers` `[B]`."""
        at = torch.from_numpy(self._rows)[:, 2 * self._state_dim : 2 * self._state_dim + 2]
        reward, cost = at.index_select(0, numbers % len(self._rows)).unbind(1)
        return reward, cost

    def gather(self, numbers: torch.Tensor, last: torch.Tensor | None = None) -> TransitionBatch:
        """`numbers` `[B]` as a batch. What comes next is what came after `last` `[B]`, if that is given."""
        slots = numbers % len(self._rows)
        last_slots = slots if last is None else last % len(self._rows)
        rows, links = torch.from_numpy(self._rows), torch.from_numpy(self._links)
        row, link = rows.index_select(0, slots).to(self._device), links.index_select(0, slots)
        last_row, last_link = row, link
        if last is not None:
            last_row = rows.index_select(0, last_slots).to(self._device)
            last_link = links.index_select(0, last_slots)
        dim = self._state_dim
        reward, cost, propensity, _ = row[:, 2 * dim :].unbind(1)
        return TransitionBatch(
            state=row[:, :dim],
            actions=self._ragged(link[:, 0]),
            action=link[:, 2].to(self._device),
            reward=reward,
            cost=cost,
            next_state=last_row[:, dim : 2 * dim],
            next_actions=self._ragged(last_link[:, 1]),
            bootstraps=last_row[:, 2 * dim + 3],
            propensity=propensity,
            next_action=last_link[:, 3].to(self._device),
            weight=torch.ones(len(numbers), device=self._device),
            key=link[:, 4].to(self._device),
            row=numbers.to(self._device),
        )

    def training_state(self) -> TrainingState:
        """Rows oldest first."""
        slots = self.numbers().numpy() % len(self._rows)
        return {
            "rows": torch.from_numpy(self._rows[slots]),
            "links": torch.from_numpy(self._links[slots]),
            "numbers": torch.tensor([self.first, self.end, self._capacity]),
        } | under("sets", self._sets.training_state())

    def load_training_state(self, state: TrainingState) -> None:
        """Raises: SnapshotError: it was saved with another capacity."""
        first, end, capacity = state["numbers"].tolist()
        if capacity != self._capacity:
            detail = f"the replay was saved with capacity {capacity}, this one has {self._capacity}"
            raise SnapshotError("schema", f"{detail}; restore the old capacity or start afresh")
        self.first, self.end = first, end
        room = min(capacity, max(len(self), _FIRST_ROWS))
        slots = self.numbers().numpy() % room
        self._rows = _spread(state["rows"].numpy(), slots, room)
        self._links = _spread(state["links"].numpy(), slots, room)
        self._sets.load_training_state(below("sets", state))

    def _slot(self, number: int) -> int:
        return number % len(self._rows)

    def _store(self, row: Floats, links: tuple[int, ...]) -> int:
        """The sets in `links` are held already: one that the oldest shares is not dropped and stored again."""
        if len(self) == self._capacity:
            self._forget_oldest()
        if len(self) == len(self._rows):
            self._grow()
        self._rows[self._slot(self.end)] = row
        self._links[self._slot(self.end)] = links
        self.end += 1
        limit = self._capacity_bytes
        while limit is not None and self.content_bytes > limit and len(self) > 1:
            self._forget_oldest()
        return self.end - 1

    def _forget_oldest(self) -> None:
        for set_id in self._links[self._slot(self.first), :2].tolist():
            self._sets.release(set_id)
        self.first += 1

    def _grow(self) -> None:
        room, old = min(self._capacity, 2 * len(self._rows)), len(self._rows)
        numbers = self.numbers().numpy()
        self._rows = _spread(self._rows[numbers % old], numbers % room, room)
        self._links = _spread(self._links[numbers % old], numbers % room, room)

    def _ragged(self, sets: torch.Tensor) -> RaggedActions:
        features, offsets = self._sets.gather(sets)
        return RaggedActions(features.to(self._device), offsets.to(self._device))


_FIRST_ROWS = 1024
_NOTES = 5


def _spread(rows: npt.NDArray[_Number], slots: Integers, room: int) -> npt.NDArray[_Number]:
    """`[room, ...]`: `rows` at `slots`, zeros elsewhere (not resident until written)."""
    table = np.zeros((room, rows.shape[1]), rows.dtype)
    table[slots] = rows
    return table
