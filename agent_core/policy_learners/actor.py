"""The policy that all actors over action sets serve."""

from __future__ import annotations

import torch

from agent_core.functional.policy_gradient import log_probabilities
from agent_core.interfaces import Policy, Scorer
from agent_core.networks.perceptrons import ActionValueNetwork, NumpyActionValue
from agent_core.types import ProblemSpec, RaggedActions, TransitionBatch


class ActorPolicy(Policy):
    """Its values are logits: log-probabilities up to a constant for each state.

    They are over whatever set is available, so a smaller set than yesterday's needs nothing special.
    """

    def __init__(self, spec: ProblemSpec, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.network = ActionValueNetwork(spec, hidden)

    def values(self, state: torch.Tensor, actions: RaggedActions) -> torch.Tensor:
        value: torch.Tensor = self.network(state, actions)
        return value

    def scorer(self) -> Scorer:
        return NumpyActionValue(self.network)


def log_policy(
    actor: ActionValueNetwork, state: torch.Tensor, actions: RaggedActions
) -> torch.Tensor:
    """`[N]` log-probabilities of every action of a batch; `state`: `[B, S]`."""
    return log_probabilities(actor(state, actions), actions)


def chosen_log_probability(actor: ActionValueNetwork, batch: TransitionBatch) -> torch.Tensor:
    """`[B]` log-probabilities of the actions that were taken, among those that were available."""
    return log_policy(actor, batch.state, batch.actions).index_select(0, batch.chosen_rows())
