"""Soft actor-critic for continuous actions, with twin critics and a learned temperature.

Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications".
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from agent_core.functional.critics import mean_error, squared_loss
from agent_core.interfaces import Capability, PolicyLearner
from agent_core.networks.box import BoxCritics
from agent_core.policy_learners.box import SquashedGaussianPolicy
from agent_core.policy_learners.soft import SoftConfig, SoftLearner
from agent_core.types import ProblemSpec


class SacConfig(SoftConfig):
    """Two critics, of which the lower counts."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"box", "sequential", "replay", "gradient", "actor", "td_error"}
    )
    kind: Literal["sac"] = "sac"

    def build_learner(self, policy: SquashedGaussianPolicy, spec: ProblemSpec) -> PolicyLearner:
        critics = BoxCritics(spec, self.hidden, members=2)
        return SoftLearner(policy, critics, LowestValue(), self, spec)


class LowestValue:
    """Outputs are values `[M, B]`, and the lowest counts."""

    def following(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs.amin(dim=0)

    def loss(
        self, outputs: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        """The mean of weight * error^2 for each critic, added up (eq. 5, without its 1/2)."""
        return squared_loss(outputs - target, weight)

    def errors(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return mean_error(outputs - target)

    def worth(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs.amin(dim=0)
