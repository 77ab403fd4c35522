"""The policies that learners of continuous actions serve."""

from __future__ import annotations

import torch

from agent_core.interfaces import BoxPolicy, BoxScorer
from agent_core.networks.box import (
    BoxActor,
    NumpyBox,
    NumpySquashedGaussian,
    NumpyTruncatedGaussian,
    SquashedGaussianActor,
    TruncatedGaussianActor,
)
from agent_core.types import ProblemSpec, TransitionBatch


class DeterministicBoxPolicy(BoxPolicy):
    """One action for each state; exploration adds its own noise."""

    def __init__(self, spec: ProblemSpec, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.actor = BoxActor(spec, hidden)

    def means(self, state: torch.Tensor) -> torch.Tensor:
        action: torch.Tensor = self.actor(state)
        return action

    def scorer(self) -> BoxScorer:
        return NumpyBox(self.actor)


class SquashedGaussianPolicy(BoxPolicy):
    """A squashed normal distribution for each state."""

    def __init__(self, spec: ProblemSpec, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.actor = SquashedGaussianActor(spec, hidden)

    def means(self, state: torch.Tensor) -> torch.Tensor:
        action: torch.Tensor = self.actor(state)
        return action

    def scorer(self) -> BoxScorer:
        return NumpySquashedGaussian(self.actor)


class TruncatedGaussianPolicy(BoxPolicy):
    """A normal distribution for each state, cut off at the limits of the box. Its mean is the peak."""

    def __init__(self, spec: ProblemSpec, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.actor = TruncatedGaussianActor(spec, hidden)

    def means(self, state: torch.Tensor) -> torch.Tensor:
        action: torch.Tensor = self.actor(state)
        return action

    def scorer(self) -> BoxScorer:
        return NumpyTruncatedGaussian(self.actor)


def chosen_log_density(actor: TruncatedGaussianActor, batch: TransitionBatch) -> torch.Tensor:
    """`[B]` log-densities of the actions that were taken, per unit of volume of the box."""
    return actor.log_density(batch.state, batch.chosen_features())
