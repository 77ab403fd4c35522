"""Actors and critics for continuous actions, in their torch and their numpy form.

Actions are in the units of the box wherever they are seen from outside. Inside, actors and critics work
on the unit box [-1, 1]^D, so nothing depends on the units in which a box was declared.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from agent_core.functional.boxes import inner_limits
from agent_core.functional.densities import density_of
from agent_core.functional.gaussian import (
    bounded_log_std,
    raw_of_std,
    squashed_draw,
    squashed_log_density,
    truncated_draw,
    truncated_entropy,
    truncated_log_density,
)
from agent_core.networks.perceptrons import ActionValueNetwork, NumpyState, StateNetwork
from agent_core.types import Floats, ProblemSpec, TransitionBatch


class BoxUnits(nn.Module):
    """Between the units of a box and the unit box. Holds no weights: not part of a saved state.

    `low`, `high`, `middle`, `radius`: `[D]`, the limits, their mean, and half their distance.
    """

    low: torch.Tensor
    high: torch.Tensor
    middle: torch.Tensor
    radius: torch.Tensor

    def __init__(self, spec: ProblemSpec) -> None:
        super().__init__()
        assert spec.box is not None, "the configuration check demands a box"
        low, high = np.array(spec.box.low), np.array(spec.box.high)
        inner_low, inner_high = inner_limits(spec.box)
        inner = {"middle": low / 2 + high / 2, "radius": high / 2 - low / 2}
        for name, limit in ({"low": inner_low, "high": inner_high} | inner).items():
            self.register_buffer(name, torch.tensor(limit, dtype=torch.float32), persistent=False)

    def to_unit(self, action: torch.Tensor) -> torch.Tensor:
        """`[B, D]` in the box to `[B, D]` in [-1, 1]."""
        unit: torch.Tensor = (action - self.middle) / self.radius
        return unit.clamp(-1, 1)

    def to_box(self, unit: torch.Tensor) -> torch.Tensor:
        """`[B, D]` in [-1, 1] to `[B, D]` in the box, never beyond it by rounding."""
        return torch.clamp(self.middle + self.radius * unit, self.low, self.high)


class BoxCritics(nn.Module):
    """`members` independent networks that value a continuous action.

    `outputs`: how many numbers each gives; with 1, results have no axis for them.
    """

    def __init__(
        self, spec: ProblemSpec, hidden: tuple[int, ...], members: int, outputs: int = 1
    ) -> None:
        super().__init__()
        self.units = BoxUnits(spec)
        self.networks = nn.ModuleList(
            ActionValueNetwork(spec, hidden, outputs) for _ in range(members)
        )

    def forward(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """`[M, B]` or `[M, B, outputs]` for `state` `[B, S]` and `action` `[B, D]` in the box."""
        unit = self.units.to_unit(action)
        return torch.stack([self._pairs(network, state, unit) for network in self.networks])

    def first(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """`[B]` or `[B, outputs]`: the same by the first network alone."""
        return self._pairs(self.networks[0], state, self.units.to_unit(action))

    def chosen(self, batch: TransitionBatch) -> torch.Tensor:
        """The same by all networks for the actions that were taken."""
        values: torch.Tensor = self(batch.state, batch.chosen_features())
        return values

    @staticmethod
    def _pairs(network: nn.Module, state: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
        assert isinstance(network, ActionValueNetwork)
        return network.pairs(state, unit)


class BoxActor(nn.Module):
    """One action for each state: tanh of a perceptron, stretched to the box."""

    def __init__(self, spec: ProblemSpec, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.units = BoxUnits(spec)
        self.body = StateNetwork(spec, hidden, spec.action_dim)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """`[B, D]` in the box, for `state` `[B, S]`."""
        return self.units.to_box(self.unit_mean(state))

    def shifted(self, state: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """`[B, D]` in the box: the same with `noise` `[B, D]` in shares of half the box."""
        return self.units.to_box(self.unit_mean(state) + noise)

    def unit_mean(self, state: torch.Tensor) -> torch.Tensor:
        """`[B, D]`: the same in the unit box."""
        outputs: torch.Tensor = self.body(state)
        return outputs.reshape(len(state), -1).tanh()


class SquashedGaussianActor(nn.Module):
    """A normal variable for each state, squashed by tanh and stretched to the box."""

    def __init__(self, spec: ProblemSpec, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.units = BoxUnits(spec)
        self.body = StateNetwork(spec, hidden, 2 * spec.action_dim)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """`[B, D]` in the box: where the normal variable has its mean."""
        mean, _ = self._parameters_of(state)
        return self.units.to_box(mean.tanh())

    def sample(
        self, state: torch.Tensor, normals: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Actions `[B, D]` in the box, and their log-densities `[B]` over the unit box.

        `normals`: `[B, D]`, standard. Gradients pass to the weights through both results.
        """
        mean, log_std = self._parameters_of(state)
        before = mean + log_std.exp() * normals
        density = squashed_log_density(before, mean, log_std)
        return self.units.to_box(before.tanh()), density

    def _parameters_of(self, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, raw = self.body(state).chunk(2, dim=1)
        return mean, bounded_log_std(raw)


class TruncatedGaussianActor(nn.Module):
    """A Gaussian for each state, cut off at the limits of the box; its width is the same in all states.

    Its peak is tanh of a perceptron, so it lies in the box.
    """

    def __init__(self, spec: ProblemSpec, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.peak = BoxActor(spec, hidden)
        self.raw_std = nn.Parameter(torch.full((spec.action_dim,), raw_of_std(_INITIAL_STD)))

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """`[B, D]` in the box: the peak."""
        peak: torch.Tensor = self.peak(state)
        return peak

    def log_density(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """`[B]`: of `action` `[B, D]`, per unit of volume of the box."""
        units = self.peak.units
        unit = units.to_unit(action)
        over_unit = truncated_log_density(unit, self.peak.unit_mean(state), self.log_std())
        return over_unit - units.radius.log().sum()

    def entropy(self, state: torch.Tensor) -> torch.Tensor:
        """`[B]`: over the unit box."""
        return truncated_entropy(self.peak.unit_mean(state), self.log_std())

    def log_std(self) -> torch.Tensor:
        """`[D]`: in the unit box."""
        return bounded_log_std(self.raw_std)


class Temperature(nn.Module):
    """What a nat of entropy is worth in reward: a positive number, learned."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(math.log(initial)))

    def forward(self) -> torch.Tensor:
        """A scalar."""
        return self.log.exp()

    def loss(self, excess: torch.Tensor) -> torch.Tensor:
        """Scalar: falls with the temperature where `excess` `[B]`, entropy above its target, is positive.

        Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications", eq. 18.
        """
        return self.log.exp() * excess.mean()


class NumpyBox:
    """The `BoxScorer` of a `BoxActor`: it has no distribution of its own."""

    def __init__(self, actor: BoxActor) -> None:
        self._body = NumpyState(actor.body)
        self._limits = _Limits(actor.units)

    def mean(self, state: Floats) -> Floats:
        return self._limits.to_box(np.tanh(self._body.outputs(state)))

    def draw(self, state: Floats, seed: int) -> tuple[Floats, float]:
        """The mean, whatever the seed, and infinity."""
        return self.mean(state), math.inf


class NumpySquashedGaussian:
    """The `BoxScorer` of a `SquashedGaussianActor`."""

    def __init__(self, actor: SquashedGaussianActor) -> None:
        self._body = NumpyState(actor.body)
        self._limits = _Limits(actor.units)
        self._dim = len(actor.units.radius)
        self._log_volume = float(np.log(self._limits.radius.astype(np.float64)).sum())

    def mean(self, state: Floats) -> Floats:
        return self._limits.to_box(np.tanh(self._body.outputs(state)[: self._dim]))

    def draw(self, state: Floats, seed: int) -> tuple[Floats, float]:
        outputs = self._body.outputs(state)
        log_std = bounded_log_std(torch.from_numpy(outputs[self._dim :])).tolist()
        unit, log_density = squashed_draw(outputs[: self._dim].tolist(), log_std, seed)
        action = self._limits.to_box(unit.astype(np.float32))
        return action, density_of(log_density - self._log_volume)


class NumpyTruncatedGaussian:
    """The `BoxScorer` of a `TruncatedGaussianActor`."""

    def __init__(self, actor: TruncatedGaussianActor) -> None:
        self._peak = NumpyBox(actor.peak)
        self._limits = _Limits(actor.peak.units)
        std = actor.log_std().detach().exp() * actor.peak.units.radius
        self._std = std.double().cpu().numpy()

    def mean(self, state: Floats) -> Floats:
        return self._peak.mean(state)

    def draw(self, state: Floats, seed: int) -> tuple[Floats, float]:
        limits = self._limits
        return truncated_draw(self.mean(state), self._std, limits.low, limits.high, seed)


class _Limits:
    """`BoxUnits` as numpy."""

    def __init__(self, units: BoxUnits) -> None:
        self.low, self.high = units.low.cpu().numpy().copy(), units.high.cpu().numpy().copy()
        self.radius = units.radius.cpu().numpy().copy()
        self._middle = units.middle.cpu().numpy().copy()

    def to_box(self, unit: Floats) -> Floats:
        """`[D]` in [-1, 1] to `[D]` in the box."""
        action: Floats = np.minimum(
            np.maximum(self._middle + self.radius * unit, self.low), self.high
        )
        return action


_INITIAL_STD = 0.5
"""Of half a box: wide enough to see most of it, narrow enough to learn from where it lies."""
