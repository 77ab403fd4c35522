"""Behaviour cloning over a box: the density under which the logged actions are most likely.

Bain & Sammut 1995, by maximum likelihood. Where the log came from many hands, the width of the density says how
far they were apart.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import torch

from agent_core.interfaces import Capability, PolicyLearner
from agent_core.networks.box import TruncatedGaussianActor
from agent_core.policy_learners.box import TruncatedGaussianPolicy, chosen_log_density
from agent_core.policy_learners.cloning import CloningConfig, CloningLearner
from agent_core.policy_learners.parts import adam_of
from agent_core.policy_learners.weights import Weights
from agent_core.types import ProblemSpec, TransitionBatch


class ContinuousCloningConfig(CloningConfig):
    """The policy is a normal distribution, cut off at the limits of the box."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"box", "replay", "gradient", "actor"}
    )
    kind: Literal["continuous_cloning"] = "continuous_cloning"

    def build_policy(self, spec: ProblemSpec) -> TruncatedGaussianPolicy:
        return TruncatedGaussianPolicy(spec, self.hidden)

    def build_learner(self, policy: TruncatedGaussianPolicy, spec: ProblemSpec) -> PolicyLearner:
        del spec
        step = adam_of(Weights(policy.actor), self.learning_rate, self.max_gradient_norm)
        return CloningLearner(policy, partial(density_loss, policy.actor), step)


def density_loss(actor: TruncatedGaussianActor, batch: TransitionBatch) -> torch.Tensor:
    """Scalar: the weighted mean of minus the log-density of the logged action per unit of volume, in nats."""
    return -(batch.weight * chosen_log_density(actor, batch)).mean()
