"""All weights of a network as one tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from agent_core.interfaces import TrainingState


class _Slot(NamedTuple):
    """Where one weight belongs: `owner.name`."""

    owner: nn.Module
    name: str
    shape: torch.Size


class Weights:
    """The weights of `network` as `flat`, of which its own parameters are views: one call moves them all."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._slots = [
            _Slot(owner, name, parameter.shape)
            for owner in network.modules()
            for name, parameter in owner._parameters.items()
            if parameter is not None
        ]
        self._is_trained = any(p.requires_grad for p in network.parameters())
        self.flat = torch.cat([p.detach().reshape(-1) for p in self._parameters()])
        self._attach()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """For copy.deepcopy, which copies `flat` and every parameter by itself."""
        self.__dict__.update(state)
        self._attach()

    @property
    def state(self) -> list[torch.Tensor]:
        return [self.flat]

    def rebase(self, state: Sequence[torch.Tensor]) -> None:
        (self.flat,) = state
        for slot, piece in self._pieces():
            # A plain tensor in a parameter's place, as torch.func.functional_call has it.
            weight = piece.detach().requires_grad_(self._is_trained)
            slot.owner._parameters[slot.name] = weight  # type: ignore[assignment]

    def gradient(self, loss: torch.Tensor) -> torch.Tensor:
        """Of `loss`, a scalar, in the form of `flat`; 0 for a weight that it does not depend on."""
        found = torch.autograd.grad(loss, self._parameters(), materialize_grads=True)
        return torch.cat([gradient.reshape(-1) for gradient in found])

    def move_towards(self, other: Weights, share: float, moved: torch.Tensor | float = 1.0) -> None:
        """Moves every weight by `share` of the way to that of `other` (Lillicrap et al. 2016, algorithm 1).

        `moved`: a scalar, 1 or 0; with 0 nothing happens.
        """
        with torch.no_grad():
            self.flat.lerp_(other.flat, share * moved)

    def training_state(self) -> TrainingState:
        return dict(self._network.state_dict())

    def load_training_state(self, state: Mapping[str, torch.Tensor]) -> None:
        self._network.load_state_dict(dict(state))

    def _attach(self) -> None:
        """Makes the parameters views of `flat`."""
        for slot, piece in self._pieces():
            weight = nn.Parameter(piece, requires_grad=self._is_trained)
            slot.owner._parameters[slot.name] = weight

    def _pieces(self) -> Iterator[tuple[_Slot, torch.Tensor]]:
        """`flat` cut into the shapes of the parameters."""
        sizes = [slot.shape.numel() for slot in self._slots]
        for slot, piece in zip(self._slots, self.flat.split(sizes), strict=True):
            yield slot, piece.view(slot.shape)

    def _parameters(self) -> list[nn.Parameter]:
        found = [slot.owner._parameters[slot.name] for slot in self._slots]
        return [one for one in found if one is not None]
