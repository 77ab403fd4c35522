"""Mostly the best action, sometimes any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, model_validator

from agent_core.functional.choice import epsilon_greedy
from agent_core.interfaces import ExplorationConfig
from agent_core.types import ActionScores, Doubles


class EpsilonGreedyConfig(ExplorationConfig):
    """Uniform with probability `epsilon`, which moves in a straight line to `final_epsilon` while the
    policy learns from `decay_transitions` transitions (both or neither are given); Sutton & Barto 2018,
    section 2.2."""

    kind: Literal["epsilon_greedy"] = "epsilon_greedy"
    epsilon: float = Field(default=0.1, ge=0, le=1)
    final_epsilon: float | None = Field(default=None, ge=0, le=1)
    decay_transitions: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _decay_is_whole(self) -> Self:
        if (self.final_epsilon is None) != (self.decay_transitions is None):
            raise ValueError(
                "a decay needs both `final_epsilon` and `decay_transitions`; give both or neither"
            )
        return self

    def build(self) -> EpsilonGreedy:
        final = self.epsilon if self.final_epsilon is None else self.final_epsilon
        return EpsilonGreedy(self.epsilon, final, self.decay_transitions or 1)


@dataclass(frozen=True, slots=True)
class EpsilonGreedy:
    """Decays with what the policy has learned, not with what one process has served."""

    initial: float
    final: float
    decay_transitions: int

    def probabilities(self, scores: ActionScores, *, experience: int, seed: int) -> Doubles:
        progress = min(1.0, experience / self.decay_transitions)
        epsilon = (1.0 - progress) * self.initial + progress * self.final
        return epsilon_greedy(scores.value, epsilon)
