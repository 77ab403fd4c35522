"""Two critics in place of one, so that no target believes the luckier of two errors."""

from __future__ import annotations

import torch
from torch import nn

from agent_core.networks.perceptrons import ActionValueNetwork
from agent_core.types import ProblemSpec, RaggedActions, TransitionBatch


class TwinCritics(nn.Module):
    """Two action values that begin apart; targets take the smaller (Fujimoto et al. 2018, eq. 10)."""

    def __init__(self, spec: ProblemSpec, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.first = ActionValueNetwork(spec, hidden)
        self.second = ActionValueNetwork(spec, hidden)

    def smaller(self, state: torch.Tensor, actions: RaggedActions) -> torch.Tensor:
        """`[N]` for every action of a batch; `state`: `[B, S]`."""
        return torch.minimum(self.first(state, actions), self.second(state, actions))

    def pairs(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """`[2, B]` for one action `[B, D]` of each state."""
        return torch.stack([self.first.pairs(state, action), self.second.pairs(state, action)])

    def chosen(self, batch: TransitionBatch) -> torch.Tensor:
        """`[2, B]` for the actions that were taken."""
        return self.pairs(batch.state, batch.chosen_features())
