"""Inverse gap weighting that spends less on exploring where the best action hardly ever fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field

from agent_core.exploration.reward_range import UNIT_RANGE, RewardRange
from agent_core.functional.choice import fast_cb
from agent_core.interfaces import Capability, ExplorationConfig
from agent_core.types import ActionScores, Doubles


class FastCbConfig(ExplorationConfig):
    """FastCB with learning rate `scale` * max(1, experience) ** `exponent`: the reweighted inverse gap
    weighting of Foster & Krishnamurthy 2021, "Efficient First-Order Contextual Bandits: Prediction,
    Allocation, and Triangular Discrimination", with the formula in `fast_cb`.

    The losses of the paper lie between 0 and 1: here 0 at the high end of `reward_range` and 1 at its low
    end, beyond which values count as that end. The learner should minimize logarithmic loss, as `neural`
    does with `loss: log`. An action may get probability 0 where the best one is expected to be perfect.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"bandit"})
    kind: Literal["fast_cb"] = "fast_cb"
    scale: float = Field(default=10.0, ge=1e-9, le=1e9)
    exponent: float = Field(default=0.5, ge=0, le=1)
    reward_range: RewardRange = UNIT_RANGE

    def build(self) -> FastCb:
        return FastCb(self.scale, self.exponent, *self.reward_range)


@dataclass(frozen=True, slots=True)
class FastCb:
    """Grows greedier with what the policy has learned."""

    scale: float
    exponent: float
    low: float
    high: float

    def probabilities(self, scores: ActionScores, *, experience: int, seed: int) -> Doubles:
        rate = self.scale * float(max(1, experience)) ** self.exponent
        return fast_cb((scores.value - self.low) / (self.high - self.low), rate)
