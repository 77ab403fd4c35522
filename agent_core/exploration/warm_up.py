"""Anything at all, until enough was learned to explore with some sense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias, cast

import numpy as np
from pydantic import Field

from agent_core.exploration.epsilon_greedy import EpsilonGreedyConfig
from agent_core.functional.boxes import inner_limits
from agent_core.functional.densities import uniform_density
from agent_core.functional.parts import known_by_parts
from agent_core.interfaces import (
    BoxExploration,
    BoxScorer,
    Capability,
    ConsistentExploration,
    ExplorationConfig,
    ExplorationModule,
)
from agent_core.types import ActionScores, Box, Doubles, Floats

if TYPE_CHECKING:
    PlainExploration: TypeAlias = (
        ExplorationConfig  # the registry puts its own union in place of it
    )


class WarmUpConfig(ExplorationConfig):
    """Uniform until the policy has learned from `transitions`, and `then` another exploration.

    Needs of the learner, and explores, what the other one does. Where that one keeps to an opinion for a
    whole episode, an episode that lives through the end of the warm-up keeps to it from there on.
    """

    needs: ClassVar[frozenset[Capability]] = known_by_parts(
        frozenset(), lambda config: config.then.needs
    )
    serves: ClassVar[frozenset[Literal["sets", "box"]]] = known_by_parts(
        frozenset({"sets", "box"}), lambda config: config.then.serves
    )
    is_consistent: ClassVar[bool] = known_by_parts(False, lambda config: config.then.is_consistent)
    kind: Literal["warm_up"] = "warm_up"
    transitions: int = Field(default=1000, ge=1)
    then: PlainExploration = EpsilonGreedyConfig()

    def build(self) -> WarmUp:
        return WarmUp(self.transitions, self.then.build())

    def build_box(self) -> BoxWarmUp:
        return BoxWarmUp(self.transitions, self.then.build_box())


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Counts what the policy has learned from, not what one process has served."""

    transitions: int
    then: ExplorationModule

    def probabilities(self, scores: ActionScores, *, experience: int, seed: int) -> Doubles:
        if experience < self.transitions:
            return np.full(len(scores.value), 1.0 / len(scores.value))
        return self.then.probabilities(scores, experience=experience, seed=seed)

    def pick(self, scores: ActionScores, episode: int, *, experience: int) -> int | None:
        """For a `then` that keeps to one opinion; only then it is asked."""
        if experience < self.transitions:
            return None
        then = cast("ConsistentExploration", self.then)
        return then.pick(scores, episode, experience=experience)


@dataclass(frozen=True, slots=True)
class BoxWarmUp:
    """Uniform over the box, at density 1 / its volume."""

    transitions: int
    then: BoxExploration

    def draw(
        self, scorer: BoxScorer, state: Floats, box: Box, *, experience: int, seed: int
    ) -> tuple[Floats, float]:
        if experience >= self.transitions:
            return self.then.draw(scorer, state, box, experience=experience, seed=seed)
        low, high = inner_limits(box)
        generator = np.random.Generator(np.random.PCG64(seed))
        drawn = generator.uniform(low, high).astype(np.float32)
        return np.clip(drawn, low, high), uniform_density(box)
