"""What learners that train networks are made of, and what they share."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Protocol, TypeVar

import torch
from torch import nn

from agent_core.functional.batch_draws import normals
from agent_core.functional.draws import splitmix
from agent_core.functional.flat_state import below, under
from agent_core.interfaces import ServedPolicy, TrainingState, Update
from agent_core.policy_learners.gradient import SKIPPED, GradientStep, MaxGradientNorm, Step
from agent_core.policy_learners.weights import Weights
from agent_core.types import TransitionBatch

_Network = TypeVar("_Network", bound=nn.Module)


class Part(Protocol):
    """Something that an update changes, in place: weights, an optimizer's moments, a counter."""

    @property
    def state(self) -> list[torch.Tensor]:
        """The tensors that it is kept in, a few large ones: a program takes them one by one."""
        ...

    def rebase(self, state: Sequence[torch.Tensor]) -> None:
        """From here on works on other tensors, of the same shapes."""
        ...

    def training_state(self) -> TrainingState: ...

    def load_training_state(self, state: TrainingState) -> None: ...


class LearnsInBatches(ABC):
    """What learners share that train networks by batches.

    An update works in place, on the tensors of its parts, and never asks for the value of a number: so it can
    be traced, compiled, and made without waiting for the device.

    `served`: the weights that the policy is served with, where updates change them. `parts`: everything else
    that updates change, by name. `updates`: how many were made. `period_updates`: after how many
    updates they repeat themselves, where some do more than others.
    """

    policy: ServedPolicy
    period_updates = 1
    moves_by_gradient_alone: ClassVar[bool] = True
    """Whether the mean of gradients is all that several processes must agree on."""

    def __init__(self, served: Weights | None, parts: Mapping[str, Part]) -> None:
        self.served = served
        self.parts = dict(parts)
        self.updates = 0

    @abstractmethod
    def update(self, batch: TransitionBatch) -> Update:
        """One gradient step on a replayed batch."""

    @property
    def can_be_compiled(self) -> bool:
        """Whether all that an update reads, and that ever changes, is in `served` and `parts`."""
        return True

    def due(self, count: int) -> tuple[bool, ...]:
        """Which of the next `count` updates are the last of a period."""
        following = range(self.updates + 1, self.updates + count + 1)
        return tuple(number % self.period_updates == 0 for number in following)

    def observe(self, new: TransitionBatch) -> None:  # noqa: B027  # most have nothing to do
        """Does nothing: no transition is taken in by itself."""

    def refresh(self, everything: Iterable[TransitionBatch]) -> None:  # noqa: B027
        """Does nothing: no statistics go stale."""

    def training_state(self) -> TrainingState:
        state: TrainingState = {"updates": torch.tensor(self.updates)}
        for name, part in self.parts.items():
            state |= under(name, part.training_state())
        return state

    def load_training_state(self, state: TrainingState) -> None:
        self.updates = int(state["updates"])
        for name, part in self.parts.items():
            part.load_training_state(below(name, state))


class Cell:
    """A part of one tensor, `value`, which updates change in place."""

    def __init__(self, value: torch.Tensor) -> None:
        self.value = value

    @property
    def state(self) -> list[torch.Tensor]:
        return [self.value]

    def rebase(self, state: Sequence[torch.Tensor]) -> None:
        (self.value,) = state

    def training_state(self) -> TrainingState:
        return {"value": self.value}

    def load_training_state(self, state: TrainingState) -> None:
        self.value.copy_(state["value"])


class UpdateNoise(Cell):
    """The chance in updates: numbers drawn from the key of each row and how often there was drawn before.

    Its seed is drawn from torch's global RNG, as initial weights are.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(torch.randint(2**62, (1,)).to(device))

    def normals(self, batch: TransitionBatch, count: int) -> torch.Tensor:
        """`[B, count]`, standard normal; the same on every device."""
        self.value.add_(1)
        return normals(splitmix(batch.key + self.value), count)


def adam_of(
    weights: Weights,
    learning_rate: float,
    max_norm: MaxGradientNorm = None,
    weight_decay: float = 0.0,
) -> GradientStep:
    """The optimizer of `weights`."""
    return GradientStep(
        weights, learning_rate=learning_rate, weight_decay=weight_decay, max_norm=max_norm
    )


def frozen_copy(network: _Network) -> _Network:
    """A target network: a copy that no gradient reaches."""
    return copy.deepcopy(network).requires_grad_(False)


def named(part: str, step: Step) -> dict[str, torch.Tensor]:
    """Metrics of one of several steps, by its name; a refused one is reported alike by all."""
    return {k if k == SKIPPED else f"{part}_{k}": v for k, v in step.metrics.items()}
