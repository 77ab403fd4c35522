"""The last observations side by side."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agent_core.history.window import Window
from agent_core.interfaces import HistoryConfig


class StackingConfig(HistoryConfig):
    """The state is the whole window, as it is: for every learner, those without gradients too (Mnih et al. 2015
    stack four frames).

    `window`: L, how many steps it spans, that of now included. `include_actions`: whether each step
    comes with the action that was taken.
    """

    kind: Literal["stacking"] = "stacking"
    window: int = Field(default=4, ge=2)
    include_actions: bool = True

    def build(self, observation_dim: int, action_dim: int) -> Window:
        return Window(self.window, observation_dim, action_dim if self.include_actions else 0)
