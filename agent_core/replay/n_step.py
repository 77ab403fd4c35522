"""Transitions over several steps at once: rewards travel faster from an episode's end to its beginning.

Sutton & Barto 2018, eq. 7.1; uncorrected for what the behaviour policy did in between, as Hessel et al.
2018 use it. A batch is put together when it is drawn, from single steps that know which one follows. So a
step can be replayed as soon as it is known, over as many steps as are known by then, and memory holds
every step once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from agent_core.functional.blocks import part
from agent_core.interfaces import Capability, ReplayConfig, TrainingState
from agent_core.replay.device_rows import rows_on
from agent_core.replay.fifo import FifoReplay
from agent_core.replay.packed_rows import PackedRows
from agent_core.types import ProblemSpec, TransitionBatch, TransitionBlock


class NStepConfig(ReplayConfig):
    """`steps`: how many rewards are summed before bootstrapping; fewer where the episode ends, or is known,
    no further. `discount`: in [0, 1], the learner's own. `capacity` and `capacity_bytes`: as for `fifo`."""

    needs: ClassVar[frozenset[Capability]] = frozenset({"replay", "sequential"})
    kind: Literal["n_step"] = "n_step"
    capacity: int = Field(default=100_000, ge=1)
    capacity_bytes: int | None = Field(default=None, ge=1)
    steps: int = Field(default=3, ge=1)
    discount: float = Field(default=0.99, ge=0, le=1)

    @property
    def room(self) -> int:
        return self.capacity

    def build(self, spec: ProblemSpec, device: torch.device) -> NStepReplay:
        rows = rows_on(
            device, spec, capacity=self.capacity, capacity_bytes=self.capacity_bytes, notes=_NOTES
        )
        return NStepReplay(rows, self.steps, self.discount)


class NStepReplay(FifoReplay):
    """Uniform draws of single steps, each extended by those that follow it in its episode.

    The steps of an episode may come in any order, as long as the earlier ones are still remembered. Notes:
    the place, which is a hash of the episode plus the step, and the number of the step that follows.
    """

    def __init__(self, rows: PackedRows, steps: int, discount: float) -> None:
        super().__init__(rows)
        self._steps = steps
        self._discount = discount
        # By place, in the order of numbers, so what was forgotten is in front: steps without a known
        # predecessor, under their own place, and steps without a known successor, under its place.
        self._heads: dict[int, int] = {}
        self._tails: dict[int, int] = {}

    @property
    def size_bytes(self) -> int:
        """Bytes of all tables, including room for growth, and about 100 for each open end of a chain."""
        return self.rows.size_bytes + 100 * (len(self._heads) + len(self._tails))

    def extend(self, block: TransitionBlock) -> None:
        facts = block.facts
        is_inside = facts["episode"] != 0
        places = np.where(is_inside, facts["episode"] + facts["step"], _NOWHERE)
        waits = is_inside & ~(facts["terminated"] | facts["truncated"])
        notes = np.stack([places, np.where(waits, _UNKNOWN, _NOTHING)], 1)
        # One by one: which steps are still remembered when another comes must not depend on the cut.
        for at in range(len(block)):
            self.rows.extend(part(block, at, at + 1), notes[at : at + 1])
            if is_inside[at]:
                self._connect(self.rows.end - 1, int(places[at]), bool(waits[at]))
            self._drop_forgotten()

    def load_training_state(self, state: TrainingState) -> None:
        """The chains are rebuilt from the notes."""
        super().load_training_state(state)
        numbers = self.rows.numbers()
        places = self.rows.note(numbers, _PLACE).tolist()
        following = self.rows.note(numbers, _FOLLOWING).tolist()
        preceded = set(following)
        at = list(zip(places, following, numbers.tolist(), strict=True))
        self._heads = {p: n for p, _, n in at if p != _NOWHERE and n not in preceded}
        self._tails = {_after(p): n for p, f, n in at if f == _UNKNOWN}

    def _connect(self, number: int, place: int, waits: bool) -> None:
        before = self._tails.pop(place, self.rows.first - 1)
        if before >= self.rows.first:
            self.rows.set_note(before, _FOLLOWING, number)
        else:
            _put_last(self._heads, place, number)
        if not waits:
            return
        after = self._heads.pop(_after(place), self.rows.first - 1)
        if after >= self.rows.first:
            self.rows.set_note(number, _FOLLOWING, after)
        else:
            _put_last(self._tails, _after(place), number)

    def _drop_forgotten(self) -> None:
        for waiting in (self._heads, self._tails):
            while waiting and waiting[oldest := next(iter(waiting))] < self.rows.first:
                del waiting[oldest]

    def batch_of(self, numbers: torch.Tensor) -> TransitionBatch:
        """`numbers` `[B]`, each up to `steps` steps long."""
        last, scale = numbers, torch.ones(len(numbers), dtype=torch.float64)
        reward, cost = (summand.double() for summand in self.rows.rewards(numbers))
        for _ in range(self._steps - 1):
            following = self.rows.note(last, _FOLLOWING)
            is_known = following >= self.rows.first
            last = torch.where(is_known, following, last)
            scale = torch.where(is_known, scale * self._discount, scale)
            more = torch.where(is_known, scale, 0.0)
            next_reward, next_cost = self.rows.rewards(last)
            reward, cost = reward + more * next_reward, cost + more * next_cost
        batch = self.rows.gather(numbers, last)
        return replace(
            batch,
            reward=self.rows.sent(reward.float()),
            cost=self.rows.sent(cost.float()),
            bootstraps=batch.bootstraps * self.rows.sent(scale.float()),
        )


_PLACE, _FOLLOWING, _NOTES = 0, 1, 2
_UNKNOWN, _NOTHING = -1, -2
_NOWHERE = 0


def _put_last(waiting: dict[int, int], place: int, number: int) -> None:
    waiting.pop(place, None)
    waiting[place] = number


def _after(place: int) -> int:
    """`place` + 1 modulo 2^64, as a signed number."""
    return (place + 1 + 2**63) % 2**64 - 2**63
