"""Optimism: the action that could be the best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from agent_core.functional.choice import greedy
from agent_core.interfaces import Capability, ExplorationConfig
from agent_core.types import ActionScores, Doubles


class UcbConfig(ExplorationConfig):
    """The highest value + `alpha` standard deviations; Li et al. 2010, algorithm 1.

    Deterministic: its propensities are 1, and 0 for all else, which says nothing about what was not
    played. Set `min_propensity` on the agent if its decisions are to be evaluated.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"spread"})
    kind: Literal["ucb"] = "ucb"
    alpha: float = Field(default=1.0, ge=0, le=1e6)

    def build(self) -> Ucb:
        return Ucb(self.alpha)


@dataclass(frozen=True, slots=True)
class Ucb:
    """All probability on the highest upper bound; exact ties share it."""

    alpha: float

    def probabilities(self, scores: ActionScores, *, experience: int, seed: int) -> Doubles:
        assert scores.spread is not None, "the configuration check demands a spread"
        deviation = np.sqrt(np.einsum("ar,ar->a", scores.spread, scores.spread))
        return greedy(scores.value + self.alpha * deviation)
