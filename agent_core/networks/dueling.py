"""The value of a state and the advantages of its actions, each learned by a network of its own."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from agent_core.functional.segments import segment_mean, spread
from agent_core.networks.perceptrons import (
    ActionValueNetwork,
    NumpyActionValue,
    NumpyState,
    StateNetwork,
)
from agent_core.types import ActionScores, Doubles, Floats, ProblemSpec, RaggedActions


class DuelingNetwork(nn.Module):
    """V(s) + A(s, a) - the mean of A(s, .) over the set that is given; Wang et al. 2016, eq. 9.

    The mean runs over the actions that are there, and over nothing else: there is no padding to weigh in.
    Differences between actions do not depend on the set. Their common level does: it is that of the set.
    """

    def __init__(self, spec: ProblemSpec, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.state_value = StateNetwork(spec, hidden)
        self.advantage = ActionValueNetwork(spec, hidden)

    def forward(self, state: torch.Tensor, actions: RaggedActions) -> torch.Tensor:
        """`[N]` for every action in its state, for `state` `[B, S]`."""
        advantage = self.advantage(state, actions)
        level = self.state_value(state) - segment_mean(advantage, actions)
        value: torch.Tensor = advantage + spread(level, actions)
        return value


class NumpyDueling:
    """The `Scorer` of a `DuelingNetwork`; the mean runs over the actions that are scored together."""

    def __init__(self, network: DuelingNetwork) -> None:
        self._advantage = NumpyActionValue(network.advantage)
        self._state_value = NumpyState(network.state_value)

    def prepare(self, actions: Floats) -> Floats:
        """`[A, H + 1]`: the action half of the first layer."""
        return self._advantage.prepare(actions)

    def value(self, state: Floats, prepared: Floats) -> Doubles:
        advantage = self._advantage.value(state, prepared)
        level = self._state_value.outputs(state).item() - np.add.reduce(advantage) / len(advantage)
        value: Doubles = advantage + level
        return value

    def score(self, state: Floats, prepared: Floats) -> ActionScores:
        """Without a spread."""
        return ActionScores(self.value(state, prepared))
