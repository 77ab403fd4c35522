"""Behaviour cloning: what `behaviour_cloning` and `continuous_cloning` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field, PositiveInt

from agent_core.interfaces import PolicyLearnerConfig, ServedPolicy, Update
from agent_core.policy_learners.gradient import GradientStep, MaxGradientNorm
from agent_core.policy_learners.parts import LearnsInBatches
from agent_core.types import TransitionBatch


class CloningConfig(PolicyLearnerConfig):
    """What configures both. `hidden`: widths of the layers."""

    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (128, 128)
    learning_rate: float = Field(default=1e-3, gt=0)
    max_gradient_norm: MaxGradientNorm = None


class CloningLearner(LearnsInBatches):
    """Trains the served actor. Rewards do not matter.

    `loss`: a scalar, with gradient, that falls as the logged actions become more likely.
    """

    def __init__(
        self,
        policy: ServedPolicy,
        loss: Callable[[TransitionBatch], torch.Tensor],
        step: GradientStep,
    ) -> None:
        self.policy = policy
        self._loss = loss
        self._step = step
        super().__init__(step.weights, {"step": step})

    def update(self, batch: TransitionBatch) -> Update:
        self.updates += 1
        return Update(self._step.descend(self._loss(batch)).metrics)
