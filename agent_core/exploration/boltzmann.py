"""Probability in proportion to the exponential of the value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from agent_core.functional.choice import softmax
from agent_core.interfaces import ExplorationConfig
from agent_core.types import ActionScores, Doubles


class BoltzmannConfig(ExplorationConfig):
    """Softmax of value / `temperature`, in the unit of the reward: low is greedy, high is uniform.

    The soft-max (Gibbs, or Boltzmann) distribution of Sutton & Barto 2018, chapter 2, with values in place of
    preferences.
    """

    kind: Literal["boltzmann"] = "boltzmann"
    temperature: float = Field(default=1.0, ge=1e-6)

    def build(self) -> Boltzmann:
        return Boltzmann(self.temperature)


@dataclass(frozen=True, slots=True)
class Boltzmann:
    """Softmax at a fixed temperature."""

    temperature: float

    def probabilities(self, scores: ActionScores, *, experience: int, seed: int) -> Doubles:
        return softmax(scores.value, self.temperature)
