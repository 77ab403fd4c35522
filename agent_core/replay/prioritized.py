"""Replays what surprised the learner more often.

Schaul et al. 2016, the proportional variant. The importance weights are divided by the largest of their
batch (section 3.4), so that they only ever make a step smaller. What is drawn may span several steps, as
Hessel et al. 2018 combine the two: the error of a window is the priority of the step that it begins with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from agent_core.functional.flat_state import below, under
from agent_core.interfaces import Capability, ReplayConfig, TrainingState
from agent_core.replay.fifo import FifoConfig, FifoReplay
from agent_core.replay.n_step import NStepConfig
from agent_core.replay.sum_tree import SumTree
from agent_core.types import Doubles, Integers, ProblemSpec, TransitionBatch, TransitionBlock


class PrioritizedConfig(ReplayConfig):
    """`alpha`: in [0, 1], how much errors matter; 0 draws uniformly. `beta`: in [0, 1], how much of the
    bias the weights make up for at first; it rises linearly to 1 over `anneal_updates` batches.
    `smallest_error`: added to every error, so that nothing is never seen again. `steps`, `discount`: as for
    `n_step`; 1 step is a transition as it is. `capacity` and `capacity_bytes`: as for `fifo`; the tree of
    priorities takes up to 32 bytes for each transition that there may be besides.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"replay", "td_error"})
    kind: Literal["prioritized"] = "prioritized"
    capacity: int = Field(default=100_000, ge=1)
    capacity_bytes: int | None = Field(default=None, ge=1)
    alpha: float = Field(default=0.6, ge=0, le=1)
    beta: float = Field(default=0.4, ge=0, le=1)
    anneal_updates: int = Field(default=100_000, ge=1)
    smallest_error: float = Field(default=1e-3, gt=0)
    steps: int = Field(default=1, ge=1)
    discount: float = Field(default=0.99, ge=0, le=1)

    @property
    def room(self) -> int:
        return self.capacity

    def build(self, spec: ProblemSpec, device: torch.device) -> PrioritizedReplay:
        limits: dict[str, Any] = self.model_dump(include={"capacity", "capacity_bytes"})
        if self.steps == 1:
            return PrioritizedReplay(FifoConfig(**limits).build(spec, device), self)
        windows = NStepConfig(**limits, steps=self.steps, discount=self.discount)
        return PrioritizedReplay(windows.build(spec, device), self)


def priorities(errors: Doubles, alpha: float, smallest: float) -> Doubles:
    """`[B]`: (error + smallest)^alpha of absolute `errors` `[B]`; Schaul et al. 2016, before eq. 1."""
    return (errors + smallest) ** alpha


def importance_weights(probabilities: Doubles, count: int, beta: float) -> Doubles:
    """`[B]` in (0, 1]: (count * probability)^-beta over its largest; Schaul et al. 2016, section 3.4.

    `probabilities`: `[B]`, with which each was drawn from `count` transitions.
    """
    weights: Doubles = (count * probabilities) ** -beta
    weights /= weights.max()
    return weights


class PrioritizedReplay:
    """New transitions have the largest priority that there ever was, so each is likely to be seen soon.

    The leaf of transition i is i modulo the number of leaves, which doubles until all that may be remembered
    have one of their own: how many there are depends on how many transitions came, not on how they were cut.
    `memory` keeps the transitions and puts batches together. A window that grows when its next step becomes
    known keeps its priority until it is drawn again.
    """

    def __init__(self, memory: FifoReplay, config: PrioritizedConfig) -> None:
        self.rows = memory.rows
        self._memory = memory
        self._config = config
        self._tree = SumTree(_FIRST_LEAVES)
        self._largest = 1.0
        self._draws = 0

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size_bytes(self) -> int:
        """Bytes of all tables, including room for growth."""
        return self.rows.size_bytes + self._tree.size_bytes

    def extend(self, block: TransitionBlock) -> None:
        oldest, new = self.rows.first, self.rows.end
        self._memory.extend(block)
        first = self.rows.first
        for number in range(oldest, min(first, new)):
            self._tree.put_one(number % self._tree.leaves, 0.0)
        self._grow(np.arange(first, new))
        for number in range(max(first, new), self.rows.end):
            self._tree.put_one(number % self._tree.leaves, self._largest)

    def sample(self, size: int, generator: torch.Generator) -> TransitionBatch:
        """One from each of `size` strata of equal probability: fewer repeats than independent draws.

        A transition is drawn in proportion to its priority (Schaul et al. 2016, section 3.3).
        """
        uniform = torch.rand(size, generator=generator, dtype=torch.float64).numpy()
        leaves = self._tree.find((np.arange(size) + uniform) / size)
        probabilities = self._tree.get(leaves) / self._tree.total
        numbers = self.rows.first + (leaves - self.rows.first) % self._tree.leaves
        weights = importance_weights(probabilities, len(self.rows), self._beta())
        self._draws += 1
        batch = self._memory.batch_of(torch.from_numpy(numbers))
        return replace(batch, weight=self.rows.sent(torch.from_numpy(weights).float()))

    def feed_back(self, batch: TransitionBatch, errors: torch.Tensor) -> None:
        """Sets the priorities of what is still remembered; errors that are not finite change nothing."""
        numbers = batch.row.cpu().numpy()
        values = errors.detach().double().cpu().numpy()
        known = (numbers >= self.rows.first) & np.isfinite(values)
        if not known.any():
            return
        values = priorities(values[known], self._config.alpha, self._config.smallest_error)
        self._tree.put(numbers[known] % self._tree.leaves, values)
        self._largest = max(self._largest, float(values.max()))

    def batches(self, size: int) -> Iterator[TransitionBatch]:
        yield from self._memory.batches(size)

    def training_state(self) -> TrainingState:
        own = {
            "priorities": torch.from_numpy(self._tree.get(self._leaves())),
            "largest": torch.tensor(self._largest, dtype=torch.float64),
            "counters": torch.tensor([self._draws, self._tree.leaves]),
        }
        return own | under("rows", self._memory.training_state())

    def load_training_state(self, state: TrainingState) -> None:
        self._memory.load_training_state(below("rows", state))
        self._largest = float(state["largest"])
        self._draws, leaves = state["counters"].tolist()
        self._tree = SumTree(leaves)
        if len(self):
            self._tree.put(self._leaves(), state["priorities"].numpy())

    def _beta(self) -> float:
        start, done = self._config.beta, min(1.0, self._draws / self._config.anneal_updates)
        return start + (1.0 - start) * done

    def _leaves(self) -> Integers:
        leaves: Integers = self.rows.numbers().numpy() % self._tree.leaves
        return leaves

    def _grow(self, numbers: Integers) -> None:
        """Makes room for a leaf of its own for each; `numbers` have priorities already, which they keep."""
        leaves = self._tree.leaves
        while leaves < min(self.rows.end, self.rows.most):
            leaves *= 2
        if leaves == self._tree.leaves:
            return
        held = self._tree.get(numbers % self._tree.leaves)
        self._tree = SumTree(leaves)
        self._tree.put(numbers % leaves, held)


_FIRST_LEAVES = 1024
