"""Acting by distributions of returns: an action is worth what the risk measure says, or the mean."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from agent_core.functional.quantiles import worth_numpy
from agent_core.types import ActionScores, Doubles, Floats, RiskMeasure


class NumpyQuantiles(Protocol):
    """The numpy form of a network of quantiles."""

    def prepare(self, actions: Floats) -> Floats: ...

    def outputs(self, state: Floats, prepared: Floats) -> Floats:
        """`[A, K]` equally likely returns, in any order."""
        ...


class QuantileScorer:
    """The `Scorer` of a policy that knows K quantiles of each action."""

    def __init__(self, network: NumpyQuantiles, risk: RiskMeasure | None) -> None:
        self._network = network
        self._risk = risk

    def prepare(self, actions: Floats) -> Floats:
        """`[A, H]`: the part that depends on the actions alone."""
        return self._network.prepare(actions)

    def value(self, state: Floats, prepared: Floats) -> Doubles:
        quantiles = self._network.outputs(state, prepared).astype(np.float64)
        return worth_numpy(quantiles, self._risk)

    def score(self, state: Floats, prepared: Floats) -> ActionScores:
        """Without a spread: what spreads here are returns, not opinions about them."""
        return ActionScores(self.value(state, prepared))
