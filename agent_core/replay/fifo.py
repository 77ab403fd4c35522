"""A bounded first-in, first-out memory in packed rows, with interned action sets.

A transition is one float32 row and three integers; the action sets lie in an arena, each distinct one
once, and are counted. Where all decisions of a while share their actions, a transition costs the two
states and a few dozen bytes, whatever the number of actions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from agent_core.errors import SnapshotError
from agent_core.functional.flat_state import below, under
from agent_core.interfaces import ReplayConfig, TrainingState
from agent_core.replay.action_sets import ActionSetStore
from agent_core.replay.tables import widened
from agent_core.types import ProblemSpec, RaggedActions, Transition, TransitionBatch


class FifoConfig(ReplayConfig):
    """`capacity`: how many transitions are remembered."""

    kind: Literal["fifo"] = "fifo"
    capacity: int = Field(default=100_000, ge=1)

    def build(self, spec: ProblemSpec, device: torch.device) -> FifoReplay:
        return FifoReplay(spec, self.capacity, device)


class FifoReplay:
    """`rows`: `[M, 2 S + 4]` float32 = state, next state, reward, cost, propensity, bootstraps.

    `links`: `[M, 3]` int64 = action set, next action set, position of the chosen action (unused rows
    name the empty set). Both grow by doubling up to `capacity`, so an idle policy costs little. The content stays
    in host memory; `device` is where batches go.
    """

    def __init__(self, spec: ProblemSpec, capacity: int, device: torch.device) -> None:
        self._state_dim = spec.state_dim
        self._capacity = capacity
        self._device = device
        self._sets = ActionSetStore(spec.action_dim)
        self._rows = np.zeros((min(capacity, _FIRST_ROWS), 2 * spec.state_dim + 4), np.float32)
        self._links = np.zeros((len(self._rows), 3), np.int64)
        self._size = 0
        self._cursor = 0

    def __len__(self) -> int:
        return self._size

    @property
    def size_bytes(self) -> int:
        """Bytes of all tables, including room for growth."""
        return self._rows.nbytes + self._links.nbytes + self._sets.size_bytes

    @property
    def distinct_sets(self) -> int:
        """How many different action sets are stored."""
        return len(self._sets)

    def append(self, transition: Transition) -> None:
        if self._cursor == len(self._rows):
            self._grow()
        forgotten = self._links[self._cursor].tolist()
        self._write(self._cursor, transition)
        # After the write: a set that both share is then not dropped and stored again.
        for set_id in forgotten[:2]:
            self._sets.release(set_id)
        self._cursor = (self._cursor + 1) % self._capacity
        self._size = min(self._size + 1, self._capacity)

    def sample(self, size: int, generator: torch.Generator) -> TransitionBatch:
        return self._gather(torch.randint(self._size, (size,), generator=generator))

    def batches(self, size: int) -> Iterator[TransitionBatch]:
        oldest_first = (torch.arange(self._size) + self._oldest()) % self._capacity
        for indices in oldest_first.split(size) if self._size else ():
            yield self._gather(indices)

    def training_state(self) -> TrainingState:
        return {
            "rows": torch.from_numpy(self._rows[: self._size].copy()),
            "links": torch.from_numpy(self._links[: self._size].copy()),
            "cursor": torch.tensor([self._cursor, self._capacity]),
        } | under("sets", self._sets.training_state())

    def load_training_state(self, state: TrainingState) -> None:
        self._cursor, capacity = state["cursor"].tolist()
        if capacity != self._capacity:
            detail = f"the replay was saved with capacity {capacity}, this one has {self._capacity}"
            raise SnapshotError("schema", f"{detail}; restore the old capacity or start afresh")
        self._size = len(state["rows"])
        room = min(self._capacity, max(self._size, _FIRST_ROWS))
        self._rows = widened(state["rows"].numpy(), room)
        self._links = widened(state["links"].numpy(), room)
        self._sets.load_training_state(below("sets", state))

    def _oldest(self) -> int:
        return self._cursor if self._size == self._capacity else 0

    def _grow(self) -> None:
        room = min(self._capacity, 2 * len(self._rows))
        self._rows, self._links = widened(self._rows, room), widened(self._links, room)

    def _write(self, index: int, transition: Transition) -> None:
        row, dim = self._rows[index], self._state_dim
        following, has_next = transition.next_actions, transition.next_state is not None
        row[:dim] = transition.state
        row[dim : 2 * dim] = 0.0 if transition.next_state is None else transition.next_state
        row[2 * dim :] = (
            transition.reward,
            transition.cost,
            transition.propensity,
            has_next and not transition.terminated,
        )
        self._links[index] = (
            self._sets.intern(transition.actions.features),
            self._sets.empty if following is None else self._sets.intern(following.features),
            transition.action,
        )

    def _gather(self, indices: torch.Tensor) -> TransitionBatch:
        rows = torch.from_numpy(self._rows).index_select(0, indices).to(self._device)
        links = torch.from_numpy(self._links).index_select(0, indices)
        dim = self._state_dim
        reward, cost, propensity, bootstraps = rows[:, 2 * dim :].unbind(1)
        return TransitionBatch(
            state=rows[:, :dim],
            actions=self._ragged(links[:, 0]),
            action=links[:, 2].to(self._device),
            reward=reward,
            cost=cost,
            next_state=rows[:, dim : 2 * dim],
            next_actions=self._ragged(links[:, 1]),
            bootstraps=bootstraps,
            propensity=propensity,
        )

    def _ragged(self, sets: torch.Tensor) -> RaggedActions:
        features, offsets = self._sets.gather(sets)
        return RaggedActions(features.to(self._device), offsets.to(self._device))


_FIRST_ROWS = 1024
