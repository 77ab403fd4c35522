"""Gathers whole episodes for learners that learn from what they played themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from agent_core.functional.blocks import joined, taken
from agent_core.functional.flat_state import below, under
from agent_core.interfaces import Capability, ReplayConfig, TrainingState
from agent_core.training.collate import block_of, collate
from agent_core.types import FACTS, ProblemSpec, Rollout, TransitionBlock


class EpisodicConfig(ReplayConfig):
    """Configures `EpisodicRollouts`.

    `rollout_transitions`: how many transitions of finished episodes are learned from at once, at least.
    `cut_after`: steps; a longer episode is cut into pieces of as many. `patience_transitions`: an episode
    that lacks steps is taken as it is when so many transitions of others came since its own last one.
    `capacity`: how many transitions are held in all; beyond it, patience ends earlier.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"on_policy"})
    kind: Literal["episodic"] = "episodic"
    rollout_transitions: int = Field(default=2048, ge=1)
    cut_after: int = Field(default=1000, ge=1)
    patience_transitions: int = Field(default=10_000, ge=1)
    capacity: int = Field(default=100_000, ge=1)

    @model_validator(mode="after")
    def _a_rollout_fits(self) -> Self:
        if self.rollout_transitions > self.capacity:
            raise ValueError(
                "rollout_transitions is more than capacity; lower it, or raise capacity"
            )
        return self

    @property
    def room(self) -> int:
        return self.capacity

    def build(self, spec: ProblemSpec, device: torch.device) -> EpisodicRollouts:
        return EpisodicRollouts(self, spec, device)


@dataclass(slots=True, eq=False)
class _Piece:
    """`cut_after` steps of one episode, each a block of one, by their number; when the newest of them came."""

    steps: dict[int, TransitionBlock] = field(default_factory=dict)
    seen: int = 0


class EpisodicRollouts:
    """Transitions come in any order, of any number of episodes at a time.

    Steps k * cut_after to (k + 1) * cut_after - 1 of an episode are a piece, which is due when its last
    step and all before it are there. The last step is the one that ends the episode, or the highest of the
    piece; the latter bootstraps from its own next state. A step that never comes splits its piece in two,
    once patience is over. A step that comes again while its piece is held counts once. What a transition
    does depends on those before it alone, never on a clock.
    """

    def __init__(self, config: EpisodicConfig, spec: ProblemSpec, device: torch.device) -> None:
        self._config = config
        self._spec = spec
        self._device = device
        self._open: dict[tuple[int, int], _Piece] = {}  # the one that waits longest first
        self._due: list[TransitionBlock] = []
        self._lengths: list[int] = []
        self._held = 0
        self._arrivals = 0

    def __len__(self) -> int:
        return self._held

    def extend(self, block: TransitionBlock) -> None:
        for at in range(len(block)):
            # A copy: who waits long must not keep the whole block in memory.
            self._take_in(taken(block, np.array([at])))

    def _take_in(self, one: TransitionBlock) -> None:
        self._arrivals += 1
        if _number(one, "episode"):
            self._add(one)
        else:
            self._held += 1
            self._release([one])
        self._lose_patience()

    def take(self) -> Rollout | None:
        if len(self._due) < self._config.rollout_transitions:
            return None
        batch = collate(joined(self._due), self._spec, self._device)
        offsets = torch.tensor(np.cumsum([0, *self._lengths]), device=self._device)
        self._held -= len(self._due)
        self._due, self._lengths = [], []
        return Rollout(batch, offsets)

    def training_state(self) -> TrainingState:
        waiting = [one for piece in self._open.values() for one in piece.steps.values()]
        pieces = [(len(piece.steps), piece.seen) for piece in self._open.values()]
        everything = joined([block_of([], self._spec), *self._due, *waiting])
        return {
            "lengths": torch.tensor(self._lengths, dtype=torch.int64),
            "open": torch.tensor(pieces, dtype=torch.int64).reshape(-1, 2),
            "arrivals": torch.tensor(self._arrivals),
        } | under("transitions", _tensors(everything))

    def load_training_state(self, state: TrainingState) -> None:
        block = _block(below("transitions", state))
        steps = [taken(block, np.array([at])) for at in range(len(block))]
        self._held = len(steps)
        self._arrivals = int(state["arrivals"])
        self._lengths = state["lengths"].tolist()
        at = sum(self._lengths)
        self._due, self._open = steps[:at], {}
        for size, seen in state["open"].tolist():
            piece = {_number(one, "step"): one for one in steps[at : at + size]}
            self._open[self._place(steps[at])] = _Piece(piece, seen)
            at += size

    def _add(self, one: TransitionBlock) -> None:
        place, step = self._place(one), _number(one, "step")
        piece = self._open.pop(place, None) or _Piece()
        self._open[place] = piece
        piece.seen = self._arrivals
        if step in piece.steps:
            return
        piece.steps[step] = one
        self._held += 1
        if self._is_whole(piece):
            self._close(place)

    def _lose_patience(self) -> None:
        while self._open:
            place, piece = next(iter(self._open.items()))
            waited = self._arrivals - piece.seen
            if waited < self._config.patience_transitions and not self._is_cramped():
                return
            self._close(place)

    def _is_cramped(self) -> bool:
        # What is due makes room at the next `take`.
        is_due = len(self._due) >= self._config.rollout_transitions
        return self._held > self._config.capacity and not is_due

    def _is_whole(self, piece: _Piece) -> bool:
        highest = max(piece.steps)
        before = highest % self._config.cut_after
        is_last = before == self._config.cut_after - 1 or _ends(piece.steps[highest])
        return is_last and len(piece.steps) == before + 1

    def _close(self, place: tuple[int, int]) -> None:
        steps = self._open.pop(place).steps
        for run in _runs([steps[number] for number in sorted(steps)]):
            self._release(run)

    def _release(self, run: list[TransitionBlock]) -> None:
        self._due += run
        self._lengths.append(len(run))

    def _place(self, one: TransitionBlock) -> tuple[int, int]:
        return _number(one, "episode"), _number(one, "step") // self._config.cut_after


def _number(one: TransitionBlock, name: str) -> int:
    """A fact of a block of one."""
    return int(one.facts[name][0])


def _ends(one: TransitionBlock) -> bool:
    facts = one.facts
    return bool((facts["terminated"] | facts["truncated"] | ~facts["has_next"])[0])


def _runs(steps: list[TransitionBlock]) -> Iterator[list[TransitionBlock]]:
    """`steps` in their order, split where one is missing and after an end."""
    run = steps[:1]
    for before, step in pairwise(steps):
        if _number(step, "step") != _number(before, "step") + 1 or _ends(before):
            yield run
            run = []
        run.append(step)
    yield run


def _tensors(block: TransitionBlock) -> TrainingState:
    columns = {name: torch.from_numpy(block.facts[name].copy()) for name in FACTS.names or ()}
    return {
        "state": torch.from_numpy(block.state),
        "next_state": torch.from_numpy(block.next_state),
        "features": torch.from_numpy(block.features),
        "offsets": torch.from_numpy(block.offsets),
    } | under("facts", columns)


def _block(state: TrainingState) -> TransitionBlock:
    """What `_tensors` was given."""
    facts = np.empty(len(state["state"]), FACTS)
    for name, column in below("facts", state).items():
        facts[name] = column.numpy()
    names = ("state", "next_state", "features", "offsets")
    return TransitionBlock(**{name: state[name].numpy() for name in names}, facts=facts)
