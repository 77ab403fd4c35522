"""Gathers whole episodes for learners that learn from what they played themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from agent_core.functional.flat_state import below, under
from agent_core.interfaces import Capability, ReplayConfig, TrainingState
from agent_core.replay.packed_transitions import pack, unpack
from agent_core.training.collate import collate
from agent_core.types import ProblemSpec, Rollout, Transition


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
    """`cut_after` steps of one episode, by their number, and when the newest of them came."""

    steps: dict[int, Transition] = field(default_factory=dict)
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
        self._open: dict[tuple[str, int], _Piece] = {}  # the one that waits longest first
        self._due: list[Transition] = []
        self._lengths: list[int] = []
        self._held = 0
        self._arrivals = 0

    def __len__(self) -> int:
        return self._held

    def append(self, transition: Transition) -> None:
        self._arrivals += 1
        if not transition.episode_id:
            self._held += 1
            self._release([transition])
        else:
            self._add(transition)
        self._lose_patience()

    def take(self) -> Rollout | None:
        if len(self._due) < self._config.rollout_transitions:
            return None
        batch = collate(self._due, self._spec, self._device)
        offsets = torch.tensor(np.cumsum([0, *self._lengths]), device=self._device)
        self._held -= len(self._due)
        self._due, self._lengths = [], []
        return Rollout(batch, offsets)

    def training_state(self) -> TrainingState:
        waiting = [t for piece in self._open.values() for t in piece.steps.values()]
        pieces = [(len(piece.steps), piece.seen) for piece in self._open.values()]
        return {
            "lengths": torch.tensor(self._lengths, dtype=torch.int64),
            "open": torch.tensor(pieces, dtype=torch.int64).reshape(-1, 2),
            "arrivals": torch.tensor(self._arrivals),
        } | under("transitions", pack(self._due + waiting, self._spec))

    def load_training_state(self, state: TrainingState) -> None:
        transitions = unpack(below("transitions", state))
        self._held = len(transitions)
        self._arrivals = int(state["arrivals"])
        self._lengths = state["lengths"].tolist()
        at = sum(self._lengths)
        self._due, self._open = transitions[:at], {}
        for size, seen in state["open"].tolist():
            steps = {t.step: t for t in transitions[at : at + size]}
            self._open[self._place(transitions[at])] = _Piece(steps, seen)
            at += size

    def _add(self, transition: Transition) -> None:
        place = self._place(transition)
        piece = self._open.pop(place, None) or _Piece()
        self._open[place] = piece
        piece.seen = self._arrivals
        if transition.step in piece.steps:
            return
        piece.steps[transition.step] = transition
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

    def _close(self, place: tuple[str, int]) -> None:
        steps = self._open.pop(place).steps
        for run in _runs([steps[number] for number in sorted(steps)]):
            self._release(run)

    def _release(self, run: list[Transition]) -> None:
        self._due += run
        self._lengths.append(len(run))

    def _place(self, transition: Transition) -> tuple[str, int]:
        return transition.episode_id, transition.step // self._config.cut_after


def _ends(transition: Transition) -> bool:
    return transition.terminated or transition.truncated or transition.next_state is None


def _runs(steps: list[Transition]) -> Iterator[list[Transition]]:
    """`steps` in their order, split where one is missing and after an end."""
    run = steps[:1]
    for before, step in pairwise(steps):
        if step.step != before.step + 1 or _ends(before):
            yield run
            run = []
        run.append(step)
    yield run
