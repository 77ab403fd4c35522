"""Inverse gap weighting: the further behind an action, the rarer it is played."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field

from agent_core.exploration.reward_range import UNIT_RANGE, RewardRange
from agent_core.functional.choice import square_cb
from agent_core.interfaces import Capability, ExplorationConfig
from agent_core.types import ActionScores, Doubles


class SquareCbConfig(ExplorationConfig):
    """SquareCB with learning rate `scale` * max(1, experience) ** `exponent`; Foster & Rakhlin 2020, with
    the formula in `square_cb`.

    Their theorem asks for an exponent of 1/2 and losses between 0 and 1: a gap counts as a share of
    `reward_range`, whose unit rewards are in. Every action keeps a positive probability.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"bandit"})
    kind: Literal["square_cb"] = "square_cb"
    scale: float = Field(default=10.0, ge=0, le=1e9)
    exponent: float = Field(default=0.5, ge=0, le=1)
    reward_range: RewardRange = UNIT_RANGE

    def build(self) -> SquareCb:
        low, high = self.reward_range
        return SquareCb(self.scale / (high - low), self.exponent)


@dataclass(frozen=True, slots=True)
class SquareCb:
    """Grows greedier with what the policy has learned. `scale`: per unit of reward."""

    scale: float
    exponent: float

    def probabilities(self, scores: ActionScores, *, experience: int, seed: int) -> Doubles:
        rate = self.scale * float(max(1, experience)) ** self.exponent
        return square_cb(scores.value, rate)
