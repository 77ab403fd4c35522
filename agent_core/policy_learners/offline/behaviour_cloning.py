"""Behaviour cloning: the policy that makes the logged actions most likely, whoever chose them.

Bain & Sammut 1995, by maximum likelihood: the loss is the cross-entropy of the logged choices.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field

from agent_core.interfaces import Capability, PolicyLearner
from agent_core.networks.perceptrons import ActionValueNetwork
from agent_core.policy_learners.actor import ActorPolicy, chosen_log_probability
from agent_core.policy_learners.cloning import CloningConfig, CloningLearner
from agent_core.policy_learners.parts import adam_of
from agent_core.policy_learners.weights import Weights
from agent_core.types import ProblemSpec, TransitionBatch


class BehaviourCloningConfig(CloningConfig):
    """The policy is a softmax over the actions that are available."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"sets", "replay", "gradient", "actor"}
    )
    kind: Literal["behaviour_cloning"] = "behaviour_cloning"
    weight_decay: float = Field(default=1e-4, ge=0)

    def build_policy(self, spec: ProblemSpec) -> ActorPolicy:
        return ActorPolicy(spec, self.hidden)

    def build_learner(self, policy: ActorPolicy, spec: ProblemSpec) -> PolicyLearner:
        del spec
        actor, norm = policy.network, self.max_gradient_norm
        step = adam_of(Weights(actor), self.learning_rate, norm, self.weight_decay)
        return CloningLearner(policy, partial(cloning_loss, actor), step)


def cloning_loss(actor: ActionValueNetwork, batch: TransitionBatch) -> torch.Tensor:
    """Scalar: the weighted mean of -log pi(chosen action | state) over the available actions, in nats."""
    return -(batch.weight * chosen_log_probability(actor, batch)).mean()
