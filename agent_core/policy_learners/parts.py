"""What learners that train several networks are made of: optimizers, target networks, what is saved."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TypeVar

import torch
from torch import nn

from agent_core.functional.flat_state import below, under
from agent_core.interfaces import TrainingState
from agent_core.policy_learners.gradient import GradientStep
from agent_core.types import TransitionBatch

_Network = TypeVar("_Network", bound=nn.Module)


class LearnsInBatches:
    """What learners share that learn from batches, or whole episodes, alone."""

    def observe(self, new: TransitionBatch) -> None:
        """Does nothing: no transition is taken in by itself."""

    def refresh(self, everything: Iterable[TransitionBatch]) -> None:
        """Does nothing: no statistics go stale."""


class SavedParts:
    """What a learner saves besides the policy and its counters: networks, and optimizers, by name."""

    def __init__(
        self, networks: Mapping[str, nn.Module], steps: Mapping[str, GradientStep]
    ) -> None:
        self._networks = dict(networks)
        self._steps = dict(steps)

    def training_state(self) -> TrainingState:
        state: TrainingState = {}
        for name, network in self._networks.items():
            state |= under(name, network.state_dict())
        for name, step in self._steps.items():
            state |= under(name, step.training_state())
        return state

    def load_training_state(self, state: TrainingState) -> None:
        for name, network in self._networks.items():
            network.load_state_dict(below(name, state))
        for name, step in self._steps.items():
            step.load_training_state(below(name, state))


class UpdateNoise:
    """The chance in updates. Its seed is drawn from torch's global RNG, as initial weights are."""

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        self._at_begin = self._generator.get_state()

    def begin_update(self) -> None:
        """From here on, `take_back` takes back what is drawn."""
        self._at_begin = self._generator.get_state()

    def take_back(self) -> None:
        """An update that was refused leaves nothing behind, not even the numbers it has drawn."""
        self._generator.set_state(self._at_begin)

    def normals(self, like: torch.Tensor) -> torch.Tensor:
        """Standard normal numbers with the shape of `like`; the same on every device."""
        return torch.randn(like.shape, generator=self._generator).to(like.device)

    def training_state(self) -> TrainingState:
        return {"generator": self._generator.get_state()}

    def load_training_state(self, state: TrainingState) -> None:
        self._generator.set_state(state["generator"])


def adam_of(
    network: nn.Module, learning_rate: float, max_norm: float, weight_decay: float = 0.0
) -> GradientStep:
    """The optimizer of all weights of `network`."""
    return GradientStep(
        dict(network.named_parameters()),
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        max_norm=max_norm,
    )


def frozen_copy(network: _Network) -> _Network:
    """A target network: a copy that no gradient reaches."""
    return copy.deepcopy(network).requires_grad_(False)


def move_towards(target: nn.Module, trained: nn.Module, share: float) -> None:
    """Moves every weight of `target` by `share` of the way (Lillicrap et al. 2016, algorithm 1)."""
    weights = [parameter.detach() for parameter in trained.parameters()]
    torch._foreach_lerp_(list(target.parameters()), weights, share)


def named(part: str, metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics of one of several steps, by its name; a refused one is reported alike by all."""
    return {k if k == "skipped_non_finite" else f"{part}_{k}": v for k, v in metrics.items()}
