"""Deterministic policy gradients over a box: what DDPG, TD3 and TD3 with behaviour cloning share.

Lillicrap et al. 2016; Fujimoto, van Hoof & Meger 2018. An algorithm is an `ActorLoss`, a pure function of
an actor, critics and a batch, and a few numbers; the rest is here.
"""

from __future__ import annotations

from typing import Annotated, Protocol

import torch
from pydantic import Field, PositiveInt

from agent_core.functional.critics import mean_error, squared_loss
from agent_core.functional.td import one_step_target
from agent_core.interfaces import PolicyLearnerConfig, ServedPolicy, Update
from agent_core.networks.box import BoxActor, BoxCritics
from agent_core.policy_learners.box import DeterministicBoxPolicy
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


class DeterministicConfig(PolicyLearnerConfig):
    """What configures all of them.

    `hidden`: widths of the layers of actor and critics. `discount`: in [0, 1], what a reward one step
    later is worth. `target_mix`: in (0, 1], how far targets move whenever the actor does.
    """

    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (128, 128)
    discount: float = Field(default=0.99, ge=0, le=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    max_gradient_norm: MaxGradientNorm = None
    target_mix: float = Field(default=0.005, gt=0, le=1)

    def build_policy(self, spec: ProblemSpec) -> DeterministicBoxPolicy:
        return DeterministicBoxPolicy(spec, self.hidden)


class TwinDelayedConfig(DeterministicConfig):
    """The safeguards of TD3.

    `actor_period_updates`: the actor moves at every so many updates. `smoothing`: standard deviation of the
    noise on target actions, cut off at `smoothing_limit`; both in shares of half the box.
    """

    actor_period_updates: int = Field(default=2, ge=1)
    smoothing: float = Field(default=0.2, ge=0)
    smoothing_limit: float = Field(default=0.5, ge=0)


class ActorLoss(Protocol):
    """A scalar, with gradient, that falls as the actions of `actor` improve under `critics`."""

    def __call__(
        self, actor: BoxActor, critics: BoxCritics, batch: TransitionBatch
    ) -> torch.Tensor: ...


def smoothed_target(
    actor: BoxActor,
    critics: BoxCritics,
    batch: TransitionBatch,
    noise: torch.Tensor,
    discount: float,
) -> torch.Tensor:
    """`[B]`: reward + discount * the lowest value of a smoothed next action (Fujimoto et al. 2018, eq. 14).

    `actor`, `critics`: the targets. `noise`: `[B, D]`, in shares of half the box. With one critic and
    no noise it is the target of Lillicrap et al. 2016.
    """
    action = actor.shifted(batch.next_state, noise)
    lowest = critics(batch.next_state, action).amin(dim=0)
    return one_step_target(batch.reward, batch.bootstraps, lowest, discount)


def value_loss(actor: BoxActor, critics: BoxCritics, batch: TransitionBatch) -> torch.Tensor:
    """Minus the mean of weight * the first critic's value of the actor's action (Lillicrap et al. 2016,
    eq. 6; Fujimoto et al. 2018, algorithm 1)."""
    return -(batch.weight * critics.first(batch.state, actor(batch.state))).mean()


class DeterministicLearner(LearnsInBatches):
    """Trains the served actor. The delay counts the learner's own updates, and is saved with it.

    `critics`: how many; the lowest counts. The others are as in `TwinDelayedConfig`.
    """

    def __init__(
        self,
        policy: DeterministicBoxPolicy,
        actor_loss: ActorLoss,
        config: DeterministicConfig,
        spec: ProblemSpec,
        *,
        critics: int,
        actor_period_updates: int = 1,
        smoothing: float = 0.0,
        smoothing_limit: float = 0.0,
    ) -> None:
        self.policy: ServedPolicy = policy
        self._config = config
        self._actor_loss = actor_loss
        self._smoothing, self._smoothing_limit = smoothing, smoothing_limit
        self._actor = policy.actor
        self._critics = BoxCritics(spec, config.hidden, critics).to(policy.actor.units.low.device)
        self._target_actor = frozen_copy(self._actor)
        self._target_critics = frozen_copy(self._critics)
        self._noise = UpdateNoise(policy.actor.units.low.device)
        self._actor_weights, self._critic_weights = Weights(self._actor), Weights(self._critics)
        self._target_weights = Weights(self._target_actor), Weights(self._target_critics)
        rate, norm = config.learning_rate, config.max_gradient_norm
        self._actor_step = adam_of(self._actor_weights, rate, norm)
        self._critic_step = adam_of(self._critic_weights, rate, norm)
        self.period_updates = actor_period_updates
        super().__init__(
            self._actor_weights,
            {
                "critics": self._critic_weights,
                "target_actor": self._target_weights[0],
                "target_critics": self._target_weights[1],
                "actor_step": self._actor_step,
                "critics_step": self._critic_step,
                "noise": self._noise,
            },
        )

    def update(self, batch: TransitionBatch) -> Update:
        target = self._target(batch)
        errors = self._critics.chosen(batch) - target
        step = self._critic_step.descend(squared_loss(errors, batch.weight))
        metrics = named("critic", step) | {"mean_target": target.mean()}
        self.updates += 1
        if self.updates % self.period_updates == 0:
            metrics |= self._move_actor(batch, step)
        return Update(metrics, mean_error(errors))

    @torch.no_grad()
    def _target(self, batch: TransitionBatch) -> torch.Tensor:
        actor, critics = self._target_actor, self._target_critics
        noise = torch.zeros_like(batch.chosen_features())
        if self._smoothing:
            noise = self._smoothing * self._noise.normals(batch, noise.shape[1])
            noise = noise.clamp(-self._smoothing_limit, self._smoothing_limit)
        return smoothed_target(actor, critics, batch, noise, self._config.discount)

    def _move_actor(self, batch: TransitionBatch, after: Step) -> dict[str, torch.Tensor]:
        loss = self._actor_loss(self._actor, self._critics, batch)
        step = self._actor_step.descend(loss, after)
        both = (self._actor_weights, self._critic_weights)
        for target, trained in zip(self._target_weights, both, strict=True):
            target.move_towards(trained, self._config.target_mix, step.moved)
        return named("actor", step)
