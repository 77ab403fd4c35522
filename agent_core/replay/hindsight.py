"""Remembers what was done also as if what came of it had been wanted: for rewards that tell of a goal.

Andrychowicz et al. 2017, strategy "future" (section 4.5): once an episode is whole, each of its steps is
stored `copies` times more, each time with the goal replaced by what was achieved at a step drawn uniformly
from this one to the episode's last.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from agent_core.functional.blocks import part
from agent_core.functional.choice import uniform_from
from agent_core.interfaces import Capability, ReplayConfig, TrainingState
from agent_core.replay.device_rows import rows_on
from agent_core.replay.fifo import FifoReplay
from agent_core.replay.packed_rows import PackedRows
from agent_core.types import Floats, Integers, ProblemSpec, TransitionBlock


class HindsightConfig(ReplayConfig):
    """`goal_at` and `achieved_at`: where in the state the `goal_size` numbers of the goal, and of what it
    is compared with, begin, counted from 0. `tolerance`: the largest Euclidean distance at which a goal
    counts as reached. `reward_reached`, `reward_missed`: of a step after which it is, or is not.
    `ends_at_goal`: whether episodes end where their goal is reached. `copies`: with other goals, of each step.
    `capacity` and `capacity_bytes`: as for `fifo`, copies included.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"replay", "sequential"})
    kind: Literal["hindsight"] = "hindsight"
    capacity: int = Field(default=100_000, ge=1)
    capacity_bytes: int | None = Field(default=None, ge=1)
    goal_at: int = Field(ge=0)
    achieved_at: int = Field(ge=0)
    goal_size: int = Field(ge=1)
    tolerance: float = Field(ge=0)
    reward_reached: float = 0.0
    reward_missed: float = -1.0
    ends_at_goal: bool = True
    copies: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _goal_stands_alone(self) -> Self:
        if abs(self.goal_at - self.achieved_at) < self.goal_size:
            raise ValueError("the goal and what is achieved overlap; give each its own numbers")
        return self

    @property
    def room(self) -> int:
        return self.capacity

    @property
    def least_state_dim(self) -> int:
        """How many numbers a state has at least."""
        return max(self.goal_at, self.achieved_at) + self.goal_size

    def build(self, spec: ProblemSpec, device: torch.device) -> HindsightReplay:
        assert self.least_state_dim <= spec.state_dim, "the configuration check says so first"
        rows = rows_on(
            device, spec, capacity=self.capacity, capacity_bytes=self.capacity_bytes, notes=_NOTES
        )
        return HindsightReplay(rows, self)


class HindsightReplay(FifoReplay):
    """Uniform draws from steps as they were and from copies with other goals.

    The steps of an episode may come in any order; a step is replayed as it was from the start. Which goals
    are drawn depends on the keys of the decisions alone. A step without a next state has achieved nothing
    that is known: it is neither copied nor drawn. Notes: a hash of the episode, the step, and the flags that
    `_flags_of` gives.
    """

    def __init__(self, rows: PackedRows, config: HindsightConfig) -> None:
        super().__init__(rows)
        self._config = config
        # In the order of their latest numbers, so what was forgotten is in front.
        self._open: dict[int, _Episode] = {}

    @property
    def size_bytes(self) -> int:
        """Bytes of all tables, including room for growth, and about 200 for each step of an open episode."""
        return self.rows.size_bytes + 200 * sum(len(one.numbers) for one in self._open.values())

    def extend(self, block: TransitionBlock) -> None:
        notes = np.stack([block.facts["episode"], block.facts["step"], _flags_of(block)], 1)
        # One by one: the copies of an episode come right after its last step.
        for at, (episode, step, flags) in enumerate(notes.tolist()):
            self.rows.extend(part(block, at, at + 1), notes[at : at + 1])
            self._drop_forgotten()
            if flags == _SETTLED:
                continue
            if self._take_in(self.rows.end - 1, episode, step, flags).is_whole:
                self._copy(self._open.pop(episode))

    def load_training_state(self, state: TrainingState) -> None:
        """Open episodes are found again by their notes."""
        super().load_training_state(state)
        self._open = {}
        numbers = self.rows.numbers()
        notes = (self.rows.note(numbers, column).tolist() for column in range(_NOTES))
        for number, episode, step, flags in zip(numbers.tolist(), *notes, strict=True):
            if flags != _SETTLED:
                self._take_in(number, episode, step, flags)

    def _take_in(self, number: int, episode: int, step: int, flags: int) -> _Episode:
        one = self._open.pop(episode, None) or _Episode()
        one.numbers[step] = number
        if flags & _LAST:
            one.last = step
        self._open[episode] = one
        return one

    def _drop_forgotten(self) -> None:
        while self._open:
            oldest = next(iter(self._open))
            if max(self._open[oldest].numbers.values()) >= self.rows.first:
                return
            del self._open[oldest]

    def _copy(self, episode: _Episode) -> None:
        """Stores the copies of a whole episode; of steps that are forgotten by then there are none."""
        numbers = [n for _, n in sorted(episode.numbers.items()) if n >= self.rows.first]
        flags = self.rows.note(torch.tensor(numbers), _FLAGS).tolist()
        for number in numbers:
            self.rows.set_note(number, _FLAGS, _SETTLED)
        known = [(n, f) for n, f in zip(numbers, flags, strict=True) if f & _KNOWN]
        if not known:
            return
        state, next_state, keys = self.rows.steps(torch.tensor([number for number, _ in known]))
        for at, (number, flag) in enumerate(known):
            step = _Step(number, flag, state[at], next_state[at])
            for draw in range(self._config.copies):
                uniform = uniform_from(int(keys[at]) + draw)
                future = at + int(uniform * (len(known) - at))
                self._copy_step(step, self._achieved(next_state[future]))

    def _copy_step(self, step: _Step, goal: Floats) -> None:
        if step.number < self.rows.first:
            return
        config = self._config
        is_reached = self._is_reached(step.next_state, goal)
        # The last step's only future is its own: its copies end, as it did.
        is_end = is_reached if config.ends_at_goal else bool(step.flags & _TERMINATED)
        self.rows.append_copy(
            step.number,
            *(0, 0, _SETTLED),
            state=self._with_goal(step.state, goal),
            next_state=self._with_goal(step.next_state, goal),
            reward=config.reward_reached if is_reached else config.reward_missed,
            bootstraps=not is_end,
        )

    def _is_reached(self, next_state: Floats, goal: Floats) -> bool:
        distance = np.linalg.norm(self._achieved(next_state) - goal)
        return bool(distance <= self._config.tolerance)

    def _goal(self, state: Floats) -> Floats:
        return state[self._config.goal_at : self._config.goal_at + self._config.goal_size]

    def _achieved(self, state: Floats) -> Floats:
        return state[self._config.achieved_at : self._config.achieved_at + self._config.goal_size]

    def _with_goal(self, state: Floats, goal: Floats) -> Floats:
        changed = state.copy()
        self._goal(changed)[:] = goal
        return changed


@dataclass(slots=True)
class _Episode:
    """Numbers of the steps that are known, and which step is the last, -1 if unknown."""

    numbers: dict[int, int] = field(default_factory=dict)
    last: int = -1

    @property
    def is_whole(self) -> bool:
        return len(self.numbers) == self.last + 1


@dataclass(frozen=True, slots=True)
class _Step:
    """What a copy is made of."""

    number: int
    flags: int
    state: Floats
    next_state: Floats


_FLAGS, _NOTES = 2, 3
_SETTLED, _PLAYED, _LAST, _TERMINATED, _KNOWN = 0, 1, 2, 4, 8


def _flags_of(block: TransitionBlock) -> Integers:
    """`[T]`: bits for a step of an episode: that it is one, that it is the last, that it terminated, that its
    next state is known; `_SETTLED` outside of any episode."""
    facts = block.facts
    flags = (
        _PLAYED
        | _LAST * (facts["terminated"] | facts["truncated"])
        | _TERMINATED * facts["terminated"]
        | _KNOWN * facts["has_next"]
    )
    return np.where(facts["episode"] != 0, flags, _SETTLED)
