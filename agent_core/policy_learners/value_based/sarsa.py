"""Deep SARSA: the value of going on as the behaviour policy does.

Rummery & Niranjan 1994, with the networks of DQN. What was done next is known from the episode and the
step of each decision, not from comparing states, so episodes may run side by side.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import torch

from agent_core.functional.segments import at_rows
from agent_core.functional.td import one_step_target
from agent_core.interfaces import Capability, PolicyLearner
from agent_core.networks.perceptrons import ActionValueNetwork
from agent_core.policy_learners.temporal_difference import (
    ActionValuePolicy,
    HuberConfig,
    Losses,
    TemporalDifferenceLearner,
    huber_losses,
)
from agent_core.types import ProblemSpec, TransitionBatch


class DeepSarsaConfig(HuberConfig):
    """Configures deep SARSA."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"sequential", "sets", "replay", "gradient", "td_error"}
    )
    kind: Literal["deep_sarsa"] = "deep_sarsa"

    def build_policy(self, spec: ProblemSpec) -> ActionValuePolicy:
        return ActionValuePolicy(spec, self.hidden)

    def build_learner(self, policy: ActionValuePolicy, spec: ProblemSpec) -> PolicyLearner:
        del spec
        loss = partial(sarsa_losses, discount=self.discount, bend=self.huber_bend)
        return TemporalDifferenceLearner(policy, policy.network, loss, self)


def sarsa_target(
    target: ActionValueNetwork, batch: TransitionBatch, discount: float
) -> torch.Tensor:
    """`[B]`: reward + discount * the value under `target` of the action taken next.

    Sutton & Barto 2018, eq. 6.7. Where that action is unknown the reward alone is left, which `counts`
    says not to learn from.
    """
    following = batch.next_actions
    taken = following.offsets[:-1] + batch.next_action
    rows = torch.where(batch.next_action < 0, len(following.features), taken)
    # Only the one action that was taken is valued: a set may have hundreds.
    value = target.pairs(batch.next_state, at_rows(following.features, rows))
    value = value * (batch.next_action >= 0)
    return one_step_target(batch.reward, batch.bootstraps, value, discount)


def counts(batch: TransitionBatch) -> torch.Tensor:
    """`[B]` float: 1 where nothing follows or what was done next is known, else 0."""
    return ((batch.bootstraps == 0) | (batch.next_action >= 0)).float()


def sarsa_losses(
    trained: ActionValueNetwork,
    target: ActionValueNetwork,
    batch: TransitionBatch,
    discount: float,
    bend: float | None = 1.0,
) -> Losses:
    """Huber losses of the chosen actions' values; 0, and no error, for rows that do not count."""
    wanted = sarsa_target(target, batch, discount)
    losses, errors, targets = huber_losses(
        trained.pairs(batch.state, batch.chosen_features()), wanted, bend
    )
    counted = counts(batch)
    return Losses(counted * losses, counted * errors, targets)
