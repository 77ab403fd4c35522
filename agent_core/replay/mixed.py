"""Logged data of another system and our own, kept apart and drawn together.

Ball et al. 2023 (section 4.1, symmetric sampling): half of each batch comes from the logged data, however
much of our own there is by now. So what only the logs show is not forgotten when our policy takes over, and
what our policy sees counts from its first day.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, Self

import torch
from pydantic import Field, model_validator

from agent_core.functional.blocks import those
from agent_core.functional.flat_state import below, under
from agent_core.interfaces import ReplayConfig, TrainingState
from agent_core.replay.device_rows import rows_on
from agent_core.replay.packed_rows import PackedRows
from agent_core.types import ProblemSpec, RaggedActions, TransitionBatch, TransitionBlock


class MixedConfig(ReplayConfig):
    """`logged_share`: in [0, 1], what part of a batch is drawn from logged data; it moves in a straight line
    to `final_logged_share` while `decay_transitions` of our own come (both or neither are given). `capacity`,
    `capacity_bytes`: as for `fifo`, of our own transitions. `logged_capacity`, `logged_capacity_bytes`: of
    logged ones, which only other logged ones displace."""

    kind: Literal["mixed"] = "mixed"
    capacity: int = Field(default=100_000, ge=1)
    capacity_bytes: int | None = Field(default=None, ge=1)
    logged_capacity: int = Field(default=100_000, ge=1)
    logged_capacity_bytes: int | None = Field(default=None, ge=1)
    logged_share: float = Field(default=0.5, ge=0, le=1)
    final_logged_share: float | None = Field(default=None, ge=0, le=1)
    decay_transitions: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _decay_is_whole(self) -> Self:
        if (self.final_logged_share is None) != (self.decay_transitions is None):
            raise ValueError(
                "a decay needs both `final_logged_share` and `decay_transitions`; give both or neither"
            )
        return self

    @property
    def room(self) -> int:
        return self.capacity + self.logged_capacity

    def build(self, spec: ProblemSpec, device: torch.device) -> MixedReplay:
        own = rows_on(device, spec, capacity=self.capacity, capacity_bytes=self.capacity_bytes)
        logged = rows_on(
            device,
            spec,
            capacity=self.logged_capacity,
            capacity_bytes=self.logged_capacity_bytes,
        )
        return MixedReplay(own, logged, self)


class MixedReplay:
    """A transition is logged if its `model_version` is 0: its behaviour policy was not ours.

    Within each kind every transition is as likely as any other. While there is none of one kind, batches
    consist of the other. In a batch, rows of logged data have negative numbers.
    """

    def __init__(self, own: PackedRows, logged: PackedRows, config: MixedConfig) -> None:
        self.own = own
        self.logged = logged
        self._config = config

    def __len__(self) -> int:
        return len(self.own) + len(self.logged)

    @property
    def size_bytes(self) -> int:
        """Bytes of all tables, including room for growth."""
        return self.own.size_bytes + self.logged.size_bytes

    def extend(self, block: TransitionBlock) -> None:
        is_own = block.facts["model_version"] != 0
        self.own.extend(those(block, is_own))
        self.logged.extend(those(block, ~is_own))

    def sample(self, size: int, generator: torch.Generator) -> TransitionBatch:
        """Logged rows first. Of an odd batch the greater half is our own."""
        from_logged = int(size * self._logged_share())
        if not len(self.own) or not len(self.logged):
            from_logged = size if len(self.logged) else 0
        drawn = [
            rows.first + torch.randint(max(1, len(rows)), (count,), generator=generator)
            for rows, count in ((self.logged, from_logged), (self.own, size - from_logged))
        ]
        return _joined(_as_logged(self.logged.gather(drawn[0])), self.own.gather(drawn[1]))

    def _logged_share(self) -> float:
        first, last = self._config.logged_share, self._config.final_logged_share
        if last is None or self._config.decay_transitions is None:
            return first
        # Numbers are never given twice, so the next one says how many of our own there ever were.
        progress = min(1.0, self.own.end / self._config.decay_transitions)
        return (1.0 - progress) * first + progress * last

    def feed_back(self, batch: TransitionBatch, errors: torch.Tensor) -> None:
        """Does nothing: no transition is preferred."""

    def batches(self, size: int) -> Iterator[TransitionBatch]:
        """Logged ones first."""
        for numbers in self.logged.numbers().split(size) if len(self.logged) else ():
            yield _as_logged(self.logged.gather(numbers))
        for numbers in self.own.numbers().split(size) if len(self.own) else ():
            yield self.own.gather(numbers)

    def training_state(self) -> TrainingState:
        own, logged = self.own.training_state(), self.logged.training_state()
        return under("own", own) | under("logged", logged)

    def load_training_state(self, state: TrainingState) -> None:
        self.own.load_training_state(below("own", state))
        self.logged.load_training_state(below("logged", state))


def _as_logged(batch: TransitionBatch) -> TransitionBatch:
    return replace(batch, row=-1 - batch.row)


def _joined(first: TransitionBatch, second: TransitionBatch) -> TransitionBatch:
    """The rows of both, in order."""
    pair = (first, second)
    return TransitionBatch(
        state=torch.cat([one.state for one in pair]),
        actions=_ragged_joined(first.actions, second.actions),
        action=torch.cat([one.action for one in pair]),
        reward=torch.cat([one.reward for one in pair]),
        cost=torch.cat([one.cost for one in pair]),
        next_state=torch.cat([one.next_state for one in pair]),
        next_actions=_ragged_joined(first.next_actions, second.next_actions),
        bootstraps=torch.cat([one.bootstraps for one in pair]),
        propensity=torch.cat([one.propensity for one in pair]),
        next_action=torch.cat([one.next_action for one in pair]),
        weight=torch.cat([one.weight for one in pair]),
        key=torch.cat([one.key for one in pair]),
        row=torch.cat([one.row for one in pair]),
    )


def _ragged_joined(first: RaggedActions, second: RaggedActions) -> RaggedActions:
    return RaggedActions(
        torch.cat([first.features, second.features]),
        torch.cat([first.offsets, second.offsets[1:] + first.offsets[-1]]),
    )
