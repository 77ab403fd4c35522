"""Normal noise around the mean of a continuous policy, cut off at the limits of the box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from agent_core.functional.boxes import inner_limits
from agent_core.functional.gaussian import truncated_draw
from agent_core.interfaces import BoxScorer, ExplorationConfig
from agent_core.types import Box, Floats


class GaussianConfig(ExplorationConfig):
    """Noise with the standard deviation `sigma`, in shares of half the box, which moves in a straight line
    to `final_sigma` while the policy learns from `decay_transitions` transitions (both or neither are
    given).

    The exploration of Fujimoto, van Hoof & Meger 2018, algorithm 1, with one difference: noise that is
    clipped would put probabilities on the limits of the box, where a density must be. So the distribution
    is cut off there instead, and renormalized (Johnson, Kotz & Balakrishnan 1994, ch. 13).
    """

    serves: ClassVar[frozenset[Literal["sets", "box"]]] = frozenset({"box"})
    kind: Literal["gaussian"] = "gaussian"
    sigma: float = Field(default=0.2, ge=1e-4, le=1e4)
    final_sigma: float | None = Field(default=None, ge=1e-4, le=1e4)
    decay_transitions: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _decay_is_whole(self) -> Self:
        if (self.final_sigma is None) != (self.decay_transitions is None):
            raise ValueError(
                "a decay needs both `final_sigma` and `decay_transitions`; give both or neither"
            )
        return self

    def build_box(self) -> Gaussian:
        final = self.sigma if self.final_sigma is None else self.final_sigma
        return Gaussian(self.sigma, final, self.decay_transitions or 1)


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Decays with what the policy has learned, not with what one process has served."""

    initial: float
    final: float
    decay_transitions: int

    def draw(
        self, scorer: BoxScorer, state: Floats, box: Box, *, experience: int, seed: int
    ) -> tuple[Floats, float]:
        progress = min(1.0, experience / self.decay_transitions)
        sigma = (1.0 - progress) * self.initial + progress * self.final
        std = sigma * (np.array(box.high) / 2 - np.array(box.low) / 2)
        return truncated_draw(scorer.mean(state), std, *inner_limits(box), seed)
