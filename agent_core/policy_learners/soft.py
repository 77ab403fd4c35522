"""Soft actor-critics over a box: what `sac` and `distributional_sac` share.

Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications", algorithm 1. One difference: entropy
is measured over the unit box [-1, 1]^D, not over the box in its own units. In other units it differs by
a constant, which would pay for longer episodes in millimetres and fine them in metres.
"""

from __future__ import annotations

from typing import Annotated, Protocol

import torch
from pydantic import Field, PositiveInt

from agent_core.functional.td import one_step_target
from agent_core.interfaces import PolicyLearnerConfig, ServedPolicy, Update
from agent_core.networks.box import BoxCritics, SquashedGaussianActor, Temperature
from agent_core.policy_learners.box import SquashedGaussianPolicy
from agent_core.policy_learners.gradient import MaxGradientNorm, Step
from agent_core.policy_learners.parts import (
    LearnsInBatches,
    UpdateNoise,
    adam_of,
    frozen_copy,
    named,
)
from agent_core.policy_learners.weights import Weights
from agent_core.types import ProblemSpec, TransitionBatch


class SoftConfig(PolicyLearnerConfig):
    """What configures both.

    `hidden`: widths of the layers of actor and critics. `discount`: in [0, 1], what a reward one step
    later is worth. `target_mix`: in (0, 1], how far target critics move at each update. `target_entropy`:
    what the temperature holds the entropy to, in nats for each dimension of the unit box; below log(2),
    the entropy of the uniform distribution. `initial_temperature`: in units of the reward.
    `temperature_learning_rate`: that of the networks if not given; 0 keeps the temperature as it is.
    """

    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (128, 128)
    discount: float = Field(default=0.99, ge=0, le=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    max_gradient_norm: MaxGradientNorm = None
    target_mix: float = Field(default=0.005, gt=0, le=1)
    target_entropy: float = Field(default=-1.0, lt=0.69)
    initial_temperature: float = Field(default=1.0, gt=0)
    temperature_learning_rate: float | None = Field(default=None, ge=0)

    def build_policy(self, spec: ProblemSpec) -> SquashedGaussianPolicy:
        return SquashedGaussianPolicy(spec, self.hidden)


class Reading(Protocol):
    """How the outputs `[M, B, ...]` of M critics are read and taught."""

    def following(self, outputs: torch.Tensor) -> torch.Tensor:
        """`[B]`, or `[B, J]` equally likely returns: what counts in a target."""
        ...

    def loss(
        self, outputs: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
    ) -> torch.Tensor:
        """A scalar; `target` has the shape of `following`, `weight` is `[B]`."""
        ...

    def errors(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """`[B]` absolute errors."""
        ...

    def worth(self, outputs: torch.Tensor) -> torch.Tensor:
        """`[B]`: what the actor maximizes."""
        ...


def soft_target(
    actor: SquashedGaussianActor,
    critics: BoxCritics,
    reading: Reading,
    batch: TransitionBatch,
    normals: torch.Tensor,
    temperature: torch.Tensor,
    discount: float,
) -> torch.Tensor:
    """`[B]` or `[B, J]`: reward + discount * (what follows - temperature * log-density); eq. 3 and 5.

    `critics`: the targets. `normals`: `[B, D]`, the draw of the next action.
    """
    action, log_density = actor.sample(batch.next_state, normals)
    following = reading.following(critics(batch.next_state, action))
    reward, bootstraps, paid = (
        one.reshape(-1, *[1] * (following.dim() - 1))
        for one in (batch.reward, batch.bootstraps, temperature * log_density)
    )
    return one_step_target(reward, bootstraps, following - paid, discount)


def soft_actor_loss(
    actor: SquashedGaussianActor,
    critics: BoxCritics,
    reading: Reading,
    batch: TransitionBatch,
    normals: torch.Tensor,
    temperature: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean of weight * (temperature * log-density - worth) (eq. 9), and log-densities `[B]`."""
    action, log_density = actor.sample(batch.state, normals)
    worth = reading.worth(critics(batch.state, action))
    return (batch.weight * (temperature * log_density - worth)).mean(), log_density.detach()


class SoftLearner(LearnsInBatches):
    """The policy that is served is the one in training; only critics have targets."""

    def __init__(
        self,
        policy: SquashedGaussianPolicy,
        critics: BoxCritics,
        reading: Reading,
        config: SoftConfig,
        spec: ProblemSpec,
    ) -> None:
        self.policy: ServedPolicy = policy
        self._config = config
        self._reading = reading
        self._target_entropy = config.target_entropy * spec.action_dim
        device = policy.actor.units.low.device
        self._actor = policy.actor
        self._critics = critics.to(device)
        self._target_critics = frozen_copy(self._critics)
        self._temperature = Temperature(config.initial_temperature).to(device)
        self._noise = UpdateNoise(device)
        actor, temperature = Weights(self._actor), Weights(self._temperature)
        self._critic_weights = Weights(self._critics)
        self._target_weights = Weights(self._target_critics)
        rate, norm = config.learning_rate, config.max_gradient_norm
        temperature_rate = config.temperature_learning_rate
        self._actor_step = adam_of(actor, rate, norm)
        self._critic_step = adam_of(self._critic_weights, rate, norm)
        self._temperature_step = adam_of(
            temperature, rate if temperature_rate is None else temperature_rate, norm
        )
        super().__init__(
            actor,
            {
                "critics": self._critic_weights,
                "target_critics": self._target_weights,
                "temperature": temperature,
                "actor_step": self._actor_step,
                "critics_step": self._critic_step,
                "temperature_step": self._temperature_step,
                "noise": self._noise,
            },
        )

    def update(self, batch: TransitionBatch) -> Update:
        target = self._target(batch)
        outputs = self._critics.chosen(batch)
        step = self._critic_step.descend(self._reading.loss(outputs, target, batch.weight))
        metrics = named("critic", step) | self._move_actor(batch, step)
        self._target_weights.move_towards(self._critic_weights, self._config.target_mix, step.moved)
        self.updates += 1
        errors = self._reading.errors(outputs.detach(), target)
        return Update(metrics | {"mean_target": target.mean()}, errors)

    @torch.no_grad()
    def _target(self, batch: TransitionBatch) -> torch.Tensor:
        return soft_target(
            self._actor,
            self._target_critics,
            self._reading,
            batch,
            self._normals(batch),
            self._temperature(),
            self._config.discount,
        )

    def _normals(self, batch: TransitionBatch) -> torch.Tensor:
        return self._noise.normals(batch, batch.actions.features.shape[1])

    def _move_actor(self, batch: TransitionBatch, after: Step) -> dict[str, torch.Tensor]:
        """Moves the actor, and then the temperature by the entropy that it had."""
        temperature = self._temperature().detach()
        loss, log_density = soft_actor_loss(
            self._actor, self._critics, self._reading, batch, self._normals(batch), temperature
        )
        step = self._actor_step.descend(loss, after)
        metrics = named("actor", step)
        excess = -log_density - self._target_entropy
        moved = self._temperature_step.descend(self._temperature.loss(excess), step)
        metrics |= named("temperature", moved)
        return metrics | {"temperature": temperature, "entropy": -log_density.mean()}
