"""No exploration."""

from __future__ import annotations

from typing import Literal

from agent_core.functional.choice import greedy
from agent_core.interfaces import ExplorationConfig
from agent_core.types import ActionScores, Doubles


class NoExplorationConfig(ExplorationConfig):
    """Always the highest value. What is never played is never learned, unless `min_propensity` is set."""

    kind: Literal["none"] = "none"

    def build(self) -> NoExploration:
        return NoExploration()


class NoExploration:
    """All probability on the highest value; exact ties share it."""

    def probabilities(self, scores: ActionScores, *, experience: int, seed: int) -> Doubles:
        return greedy(scores.value)
