"""What attention gathers from a window."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from agent_core.history.window import Window, row_dim
from agent_core.interfaces import Capability, HistoryConfig
from agent_core.networks.attention import AttentionSummary


class TransformerConfig(HistoryConfig):
    """Networks see what the step of now gathers from the window by self-attention (Vaswani et al. 2017, eq. 1).

    `window`: L, how many steps it reads, that of now included. `include_actions`: whether each step
    comes with the action that was taken. `width`: numbers for each step, a multiple of twice
    `heads`. `layers`: blocks of attention. `attention`: whether a step looks at older ones only,
    which matters from two layers on. `positions`: how a step's age is told: by learned numbers, or
    by sines and cosines.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"gradient"})
    kind: Literal["transformer"] = "transformer"
    window: int = Field(default=8, ge=2)
    include_actions: bool = True
    width: int = Field(default=64, ge=2)
    heads: int = Field(default=2, ge=1)
    layers: int = Field(default=1, ge=1)
    attention: Literal["causal", "full"] = "causal"
    positions: Literal["learned", "sinusoidal"] = "learned"

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} is no multiple of twice heads, {2 * self.heads}")
        return self

    def build(self, observation_dim: int, action_dim: int) -> Window:
        seen = action_dim if self.include_actions else 0
        summary = AttentionSummary(
            row_dim=row_dim(observation_dim, seen),
            length=self.window,
            dim=self.width,
            heads=self.heads,
            layers=self.layers,
            is_causal=self.attention == "causal",
            positions=self.positions,
        )
        return Window(self.window, observation_dim, seen, summary)
