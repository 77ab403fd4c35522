"""Soft actor-critic that knows whole distributions of returns, and what they are worth under a risk measure.

Truncated quantile critics (Kuznetsov et al. 2020): critics predict quantiles, targets pool those of all
critics and leave the highest out. One addition: where the problem has a risk measure, the actor maximizes
that of the pooled quantiles in place of their mean, as in Ma et al. 2020, "DSAC: Distributional Soft
Actor-Critic for Risk-Sensitive Reinforcement Learning".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from agent_core.functional.quantiles import midpoints, quantile_huber, worth
from agent_core.interfaces import Capability, PolicyLearner
from agent_core.networks.box import BoxCritics
from agent_core.policy_learners.box import SquashedGaussianPolicy
from agent_core.policy_learners.soft import SoftConfig, SoftLearner
from agent_core.types import ProblemSpec, RiskMeasure


class DistributionalSacConfig(SoftConfig):
    """`critics` networks predict `quantiles` each; of the pooled ones a target leaves out the
    `dropped_per_critic` highest for each critic, against overestimation."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"box", "sequential", "replay", "gradient", "actor", "distribution", "td_error"}
    )
    kind: Literal["distributional_sac"] = "distributional_sac"
    critics: int = Field(default=2, ge=1)
    quantiles: int = Field(default=25, ge=2)
    dropped_per_critic: int = Field(default=2, ge=0)

    @model_validator(mode="after")
    def _keeps_some(self) -> Self:
        if self.dropped_per_critic >= self.quantiles:
            raise ValueError("`dropped_per_critic` leaves no quantile; keep it below `quantiles`")
        return self

    def build_learner(self, policy: SquashedGaussianPolicy, spec: ProblemSpec) -> PolicyLearner:
        critics = BoxCritics(spec, self.hidden, self.critics, self.quantiles)
        reading = TruncatedQuantiles(self.dropped_per_critic, spec.risk)
        return SoftLearner(policy, critics, reading, self, spec)


@dataclass(frozen=True, slots=True)
class TruncatedQuantiles:
    """Outputs are K quantiles each of M critics, `[M, B, K]`, and are pooled.

    `risk`: what the actor maximizes; None is the mean.
    """

    dropped_per_critic: int
    risk: RiskMeasure | None

    def following(self, outputs: torch.Tensor) -> torch.Tensor:
        """`[B, J]`, the lowest J = M (K - dropped_per_critic), in order (Kuznetsov et al. 2020, eq. 10)."""
        ordered = _pooled(outputs).sort(dim=1).values
        return ordered[:, : ordered.shape[1] - self.dropped_per_critic * len(outputs)]

    def loss(
        self, outputs: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        """Quantile regression of each critic on `target` `[B, J]`, added up (eq. 12)."""
        taus = midpoints(outputs.shape[-1]).to(outputs.device)
        losses = torch.stack([quantile_huber(one, taus, target, _BEND) for one in outputs])
        return (weight * losses).mean(dim=1).sum()

    def errors(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Between the means of what is predicted and of what is aimed at."""
        return (_pooled(outputs).mean(dim=1) - target.mean(dim=1)).abs()

    def worth(self, outputs: torch.Tensor) -> torch.Tensor:
        """Of all pooled quantiles, none left out (eq. 14, where it is the mean)."""
        return worth(_pooled(outputs), self.risk)


def _pooled(outputs: torch.Tensor) -> torch.Tensor:
    """`[B, M K]`"""
    return outputs.transpose(0, 1).flatten(start_dim=1)


_BEND = 1.0
"""Where the Huber loss turns from squares to distances, as in the paper."""
