"""What recurrent networks remember of a window."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from agent_core.history.window import Window, row_dim
from agent_core.interfaces import Capability, HistoryConfig
from agent_core.networks.recurrent import GruSummary, LstmSummary


class LstmConfig(HistoryConfig):
    """Networks see the hidden state of an LSTM that has read the window (Hausknecht & Stone 2015, with the cells
    of Hochreiter & Schmidhuber 1997).

    `window`: L, how many steps it reads, that of now included. `include_actions`: whether each step
    comes with the action that was taken. `hidden_dim`: width of the hidden state.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"gradient"})
    kind: Literal["lstm"] = "lstm"
    window: int = Field(default=8, ge=2)
    include_actions: bool = True
    hidden_dim: int = Field(default=64, ge=1)

    def build(self, observation_dim: int, action_dim: int) -> Window:
        seen = action_dim if self.include_actions else 0
        summary = LstmSummary(row_dim(observation_dim, seen), self.hidden_dim)
        return Window(self.window, observation_dim, seen, summary)


class GruConfig(HistoryConfig):
    """Networks see the hidden state of gated recurrent units that have read the window (Cho et al. 2014).

    `window`, `include_actions`, `hidden_dim`: as in `LstmConfig`.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"gradient"})
    kind: Literal["gru"] = "gru"
    window: int = Field(default=8, ge=2)
    include_actions: bool = True
    hidden_dim: int = Field(default=64, ge=1)

    def build(self, observation_dim: int, action_dim: int) -> Window:
        seen = action_dim if self.include_actions else 0
        summary = GruSummary(row_dim(observation_dim, seen), self.hidden_dim)
        return Window(self.window, observation_dim, seen, summary)
