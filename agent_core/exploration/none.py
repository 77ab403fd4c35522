"""No exploration."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from agent_core.functional.choice import greedy
from agent_core.interfaces import BoxScorer, ExplorationConfig
from agent_core.types import ActionScores, Box, Doubles, Floats


class NoExplorationConfig(ExplorationConfig):
    """Always the highest value, or the mean of a continuous policy. What is never played is never learned,
    unless `min_propensity` is set."""

    serves: ClassVar[frozenset[Literal["sets", "box"]]] = frozenset({"sets", "box"})
    kind: Literal["none"] = "none"

    def build(self) -> NoExploration:
        return NoExploration()

    def build_box(self) -> NoBoxExploration:
        return NoBoxExploration()


class NoExploration:
    """All probability on the highest value; exact ties share it."""

    def probabilities(self, scores: ActionScores, *, experience: int, seed: int) -> Doubles:
        return greedy(scores.value)


class NoBoxExploration:
    """Always the mean, which is no draw and has no density."""

    def draw(
        self, scorer: BoxScorer, state: Floats, box: Box, *, experience: int, seed: int
    ) -> tuple[Floats, float]:
        return scorer.mean(state), math.inf
