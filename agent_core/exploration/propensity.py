"""The policy's own distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from agent_core.functional.choice import softmax
from agent_core.interfaces import Capability, ExplorationConfig
from agent_core.types import ActionScores, Doubles


class PropensityConfig(ExplorationConfig):
    """Plays each action as often as the policy wants it: the softmax of its log-probabilities over the
    actions that are available (the soft-max in action preferences of Sutton & Barto 2018, chapter 13)."""

    needs: ClassVar[frozenset[Capability]] = frozenset({"actor"})
    kind: Literal["propensity"] = "propensity"

    def build(self) -> Propensity:
        return Propensity()


@dataclass(frozen=True, slots=True)
class Propensity:
    """Samples the policy."""

    def probabilities(self, scores: ActionScores, *, experience: int, seed: int) -> Doubles:
        return softmax(scores.value, 1.0)
