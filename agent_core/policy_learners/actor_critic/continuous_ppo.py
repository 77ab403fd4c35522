"""Proximal policy optimization over a box.

Schulman et al. 2017. The policy's own density ends at the limits of the box, so no action has to be clipped,
and every ratio is exact.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field

from agent_core.interfaces import Capability, PolicyLearner
from agent_core.networks.box import TruncatedGaussianActor
from agent_core.policy_learners.box import TruncatedGaussianPolicy
from agent_core.policy_learners.proximal import Judged, ProximalConfig, ProximalLearner
from agent_core.types import ProblemSpec


class ContinuousPpoConfig(ProximalConfig):
    """The policy is a normal distribution, cut off at the limits of the box."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"box", "sequential", "on_policy", "gradient", "actor"}
    )
    kind: Literal["continuous_ppo"] = "continuous_ppo"
    epochs: int = Field(default=10, ge=1)
    entropy_weight: float = Field(default=0.0, ge=0)

    def build_policy(self, spec: ProblemSpec) -> TruncatedGaussianPolicy:
        return TruncatedGaussianPolicy(spec, self.hidden)

    def build_learner(self, policy: TruncatedGaussianPolicy, spec: ProblemSpec) -> PolicyLearner:
        chances = partial(box_chances, policy.actor)
        return ProximalLearner(policy, policy.actor, chances, self, spec)


def box_chances(actor: TruncatedGaussianActor, judged: Judged) -> tuple[torch.Tensor, torch.Tensor]:
    """`Chances` in the box, per unit of its volume; entropies over the unit box."""
    action = judged.actions.features[judged.chosen_rows()]
    return actor.log_density(judged.state, action), actor.entropy(judged.state)
