"""A policy whose scores are written down in the test."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from agent_core.interfaces import Policy, Scorer
from agent_core.types import ActionScores, Doubles, Floats, RaggedActions


@dataclass(frozen=True)
class _PlainScorer:
    """The value of an action is its first feature plus the first number of the state; the other
    features are its row of the posterior factor, and what its members add to the value."""

    has_spread: bool

    def prepare(self, actions: Floats) -> Floats:
        return actions

    def value(self, state: Floats, prepared: Floats) -> Doubles:
        value: Doubles = prepared[:, 0].astype("float64") + state[0]
        return value

    def score(self, state: Floats, prepared: Floats) -> ActionScores:
        value = self.value(state, prepared)
        if not self.has_spread:
            return ActionScores(value)
        spread = prepared[:, 1:].astype("float64")
        return ActionScores(value, spread, value[:, None] + spread)


class FixedPolicy(Policy):
    """Values are features: needs no training and hides nothing."""

    def __init__(self, *, has_spread: bool = False) -> None:
        super().__init__()
        self.has_spread = has_spread

    def values(self, state: torch.Tensor, actions: RaggedActions) -> torch.Tensor:
        return actions.features[:, 0] + state[actions.segments(), 0]

    def scorer(self) -> Scorer:
        return _PlainScorer(self.has_spread)
