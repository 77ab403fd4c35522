"""A bounded first-in, first-out memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from pydantic import Field

from agent_core.interfaces import ReplayConfig, TrainingState
from agent_core.replay.device_rows import rows_on
from agent_core.replay.packed_rows import PackedRows
from agent_core.types import ProblemSpec, TransitionBatch, TransitionBlock


class FifoConfig(ReplayConfig):
    """Experience replay (Lin 1992).

    `capacity`: how many transitions are remembered. `capacity_bytes`: how many bytes they may take, the tables'
    room for growth not counted; None for no such limit.
    """

    kind: Literal["fifo"] = "fifo"
    capacity: int = Field(default=100_000, ge=1)
    capacity_bytes: int | None = Field(default=None, ge=1)

    @property
    def room(self) -> int:
        return self.capacity

    def build(self, spec: ProblemSpec, device: torch.device) -> FifoReplay:
        return FifoReplay(
            rows_on(device, spec, capacity=self.capacity, capacity_bytes=self.capacity_bytes)
        )


class FifoReplay:
    """Every transition that `rows` holds is as likely as any other."""

    def __init__(self, rows: PackedRows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def extend(self, block: TransitionBlock) -> None:
        self.rows.extend(block)

    def sample(self, size: int, generator: torch.Generator) -> TransitionBatch:
        return self.batch_of(
            torch.randint(self.rows.first, self.rows.end, (size,), generator=generator)
        )

    def feed_back(self, batch: TransitionBatch, errors: torch.Tensor) -> None:
        """Does nothing: no transition is preferred."""

    def batches(self, size: int) -> Iterator[TransitionBatch]:
        for numbers in self.rows.numbers().split(size) if len(self) else ():
            yield self.batch_of(numbers)

    def training_state(self) -> TrainingState:
        return self.rows.training_state()

    def load_training_state(self, state: TrainingState) -> None:
        self.rows.load_training_state(state)

    def batch_of(self, numbers: torch.Tensor) -> TransitionBatch:
        """The transitions `numbers` `[B]`, as a learner is to see them."""
        return self.rows.gather(numbers)
