"""Behaviour cloning: the policy that makes the logged actions most likely, whoever chose them."""

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
from agent_core.networks.perceptrons import ActionValueNetwork
from agent_core.policy_learners.actor import ActorPolicy, log_policy
from agent_core.policy_learners.gradient import GradientStep
from agent_core.types import ProblemSpec, TransitionBatch


class BehaviourCloningConfig(PolicyLearnerConfig):
    """Configures `BehaviourCloningLearner`. `hidden`: widths of the layers."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"sets", "replay", "gradient", "actor"}
    )
    kind: Literal["behaviour_cloning"] = "behaviour_cloning"
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (128, 128)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    max_gradient_norm: float = Field(default=10.0, gt=0)

    def build_policy(self, spec: ProblemSpec) -> ActorPolicy:
        return ActorPolicy(spec, self.hidden)

    def build_learner(self, policy: ActorPolicy, spec: ProblemSpec) -> PolicyLearner:
        del spec
        return BehaviourCloningLearner(policy, self)


def cloning_loss(actor: ActionValueNetwork, batch: TransitionBatch) -> torch.Tensor:
    """The weighted mean of -log pi(chosen action | state) over the available actions, in nats."""
    log_p = log_policy(actor, batch.state, batch.actions)[batch.chosen_rows()]
    return -(batch.weight * log_p).mean()


class BehaviourCloningLearner:
    """Trains the served actor. Rewards do not matter."""

    def __init__(self, policy: ActorPolicy, config: BehaviourCloningConfig) -> None:
        self.policy: ServedPolicy = policy
        self._actor = policy.network
        self._step = GradientStep(
            dict(policy.network.named_parameters()),
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            max_norm=config.max_gradient_norm,
        )

    def observe(self, new: TransitionBatch) -> None:
        """Does nothing: everything is learned from replay."""

    def update(self, batch: TransitionBatch) -> Update:
        return Update(self._step.descend(cloning_loss(self._actor, batch)))

    def refresh(self, everything: Iterable[TransitionBatch]) -> None:
        """Does nothing: no statistics go stale."""

    def training_state(self) -> TrainingState:
        return under("step", self._step.training_state())

    def load_training_state(self, state: TrainingState) -> None:
        self._step.load_training_state(below("step", state))
