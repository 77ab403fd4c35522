"""Deep Q-learning over action sets that change from one decision to the next.

Mnih et al. 2015, with a Huber loss and a slowly mixed target network (Lillicrap et al. 2016). The maximum
of the target runs over the actions that are available, and safe, next.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal, TypeAlias

import torch

from agent_core.interfaces import Capability, Policy, PolicyLearner, Scorer
from agent_core.networks.dueling import DuelingNetwork, NumpyDueling
from agent_core.networks.perceptrons import ActionValueNetwork
from agent_core.policy_learners.temporal_difference import (
    ActionValuePolicy,
    HuberConfig,
    Losses,
    TemporalDifferenceLearner,
    double_target,
    greedy_target,
    huber_losses,
)
from agent_core.types import ProblemSpec, RaggedActions, TransitionBatch

_Network: TypeAlias = ActionValueNetwork | DuelingNetwork


class DqnConfig(HuberConfig):
    """Configures deep Q-learning.

    `double`: the trained network chooses the next action and the target network values it (van Hasselt
    et al. 2016). `dueling`: the value of a state and the advantages of actions are learned apart (Wang
    et al. 2016); the level of all values is then that of the set that is scored, after exclusions, and
    their differences, which are all that probabilities depend on, do not depend on it.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"sequential", "sets", "replay", "gradient", "td_error"}
    )
    kind: Literal["dqn"] = "dqn"
    double: bool = False
    dueling: bool = False

    def build_policy(self, spec: ProblemSpec) -> ActionValuePolicy | DuelingPolicy:
        make = DuelingPolicy if self.dueling else ActionValuePolicy
        return make(spec, self.hidden)

    def build_learner(
        self, policy: ActionValuePolicy | DuelingPolicy, spec: ProblemSpec
    ) -> PolicyLearner:
        del spec
        loss = partial(dqn_losses, discount=self.discount, double=self.double, bend=self.huber_bend)
        return TemporalDifferenceLearner[_Network](policy, policy.network, loss, self)


class DuelingPolicy(Policy):
    """Values actions by a `DuelingNetwork`, which the learner moves by averaging."""

    def __init__(self, spec: ProblemSpec, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.network = DuelingNetwork(spec, hidden)
        self.network.requires_grad_(False)

    def values(self, state: torch.Tensor, actions: RaggedActions) -> torch.Tensor:
        value: torch.Tensor = self.network(state, actions)
        return value

    def scorer(self) -> Scorer:
        return NumpyDueling(self.network)


def dqn_losses(
    trained: _Network,
    target: _Network,
    batch: TransitionBatch,
    discount: float,
    *,
    double: bool,
    bend: float | None = 1.0,
) -> Losses:
    """Huber losses of the chosen actions' values against the (double) target of Q-learning."""
    if double:
        wanted = double_target(trained, target, batch, discount)
    else:
        wanted = greedy_target(target, batch, discount)
    return huber_losses(chosen_values(trained, batch), wanted, bend)


def chosen_values(network: _Network, batch: TransitionBatch) -> torch.Tensor:
    """`[B]`: values of the actions that were taken, among those that were available."""
    if isinstance(network, DuelingNetwork):
        values: torch.Tensor = network(batch.state, batch.actions)
        return values.index_select(0, batch.chosen_rows())
    return network.pairs(batch.state, batch.chosen_features())
