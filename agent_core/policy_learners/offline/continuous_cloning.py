"""Behaviour cloning over a box: the density under which the logged actions are most likely.

Where the log came from many hands, the width of the density says how far they were apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt

from agent_core.functional.flat_state import below, under
from agent_core.interfaces import (
    Capability,
    PolicyLearner,
    PolicyLearnerConfig,
    ServedPolicy,
    TrainingState,
    Update,
)
from agent_core.networks.box import TruncatedGaussianActor
from agent_core.policy_learners.box import TruncatedGaussianPolicy, adam_of
from agent_core.types import ProblemSpec, TransitionBatch


class ContinuousCloningConfig(PolicyLearnerConfig):
    """Configures `ContinuousCloningLearner`. `hidden`: widths of the layers."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"box", "replay", "gradient", "actor"}
    )
    kind: Literal["continuous_cloning"] = "continuous_cloning"
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (128, 128)
    learning_rate: float = Field(default=1e-3, gt=0)
    max_gradient_norm: float = Field(default=10.0, gt=0)

    def build_policy(self, spec: ProblemSpec) -> TruncatedGaussianPolicy:
        return TruncatedGaussianPolicy(spec, self.hidden)

    def build_learner(self, policy: TruncatedGaussianPolicy, spec: ProblemSpec) -> PolicyLearner:
        del spec
        return ContinuousCloningLearner(policy, self)


def density_loss(actor: TruncatedGaussianActor, batch: TransitionBatch) -> torch.Tensor:
    """The weighted mean of minus the log-density of the logged action, in nats."""
    return -(batch.weight * actor.log_density(batch.state, batch.chosen_features())).mean()


class ContinuousCloningLearner:
    """Trains the served actor. Rewards do not matter."""

    def __init__(self, policy: TruncatedGaussianPolicy, config: ContinuousCloningConfig) -> None:
        self.policy: ServedPolicy = policy
        self._actor = policy.actor
        self._step = adam_of(policy.actor, config.learning_rate, config.max_gradient_norm)

    def observe(self, new: TransitionBatch) -> None:
        """Does nothing: everything is learned from replay."""

    def update(self, batch: TransitionBatch) -> Update:
        return Update(self._step.descend(density_loss(self._actor, batch)))

    def refresh(self, everything: Iterable[TransitionBatch]) -> None:
        """Does nothing: no statistics go stale."""

    def training_state(self) -> TrainingState:
        return under("actor_step", self._step.training_state())

    def load_training_state(self, state: TrainingState) -> None:
        self._step.load_training_state(below("actor_step", state))
