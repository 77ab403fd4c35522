"""Soft actor-critic over action sets that change from one decision to the next.

Christodoulou 2019, with twin critics. All expectations over actions are exact sums over the set that is
available. One difference: the entropy aimed at is a share of the largest that the set allows, log(A), for
each state by itself; one number for all would be out of reach for a small set and nothing for a large one.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt

from agent_core.functional.critics import mean_error, squared_loss
from agent_core.functional.policy_gradient import entropies, expectations
from agent_core.functional.td import one_step_target
from agent_core.interfaces import (
    Capability,
    PolicyLearner,
    PolicyLearnerConfig,
    ServedPolicy,
    Update,
)
from agent_core.networks.box import Temperature
from agent_core.networks.perceptrons import ActionValueNetwork
from agent_core.networks.twin_critics import TwinCritics
from agent_core.policy_learners.actor import ActorPolicy, log_policy
from agent_core.policy_learners.gradient import MaxGradientNorm, Step
from agent_core.policy_learners.parts import LearnsInBatches, adam_of, frozen_copy, named
from agent_core.policy_learners.weights import Weights
from agent_core.types import ProblemSpec, TransitionBatch


class DiscreteSacConfig(PolicyLearnerConfig):
    """Configures `DiscreteSacLearner`.

    `hidden`: widths of the layers of actor and critics. `discount`: in [0, 1], what a reward one step later
    is worth. `target_mix`: in (0, 1], how far the target critics move towards the trained ones in each
    update. `target_entropy_share`: of log(number of available actions), what the temperature steers for.
    `initial_temperature`: reward per nat of entropy before anything is learned; at a
    `temperature_learning_rate` of 0 also afterwards.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"sequential", "sets", "replay", "gradient", "actor", "td_error"}
    )
    kind: Literal["discrete_sac"] = "discrete_sac"
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (128, 128)
    discount: float = Field(default=0.99, ge=0, le=1)
    learning_rate: float = Field(default=3e-4, gt=0)
    temperature_learning_rate: float = Field(default=3e-4, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_gradient_norm: MaxGradientNorm = None
    target_mix: float = Field(default=0.005, gt=0, le=1)
    target_entropy_share: float = Field(default=0.3, ge=0, le=1)
    initial_temperature: float = Field(default=0.2, gt=0)

    def build_policy(self, spec: ProblemSpec) -> ActorPolicy:
        return ActorPolicy(spec, self.hidden)

    def build_learner(self, policy: ActorPolicy, spec: ProblemSpec) -> PolicyLearner:
        return DiscreteSacLearner(policy, self, spec)


@torch.no_grad()
def soft_target(
    actor: ActionValueNetwork,
    targets: TwinCritics,
    batch: TransitionBatch,
    temperature: torch.Tensor,
    discount: float,
) -> torch.Tensor:
    """`[B]`: reward + discount * V(next state), with V = sum of pi * (Q - temperature * log pi) over the
    next available actions (Christodoulou 2019, eq. 10); 0 where there are none."""
    following = batch.next_actions
    log_p = log_policy(actor, batch.next_state, following)
    soft = targets.smaller(batch.next_state, following) - temperature * log_p
    value = expectations(soft, log_p, following)
    return one_step_target(batch.reward, batch.bootstraps, value, discount)


def critic_loss(errors: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The sum over both critics of the mean of weight * half the squared error; `errors`: `[2, B]`."""
    return 0.5 * squared_loss(errors, weight)


def actor_loss(
    actor: ActionValueNetwork,
    critics: TwinCritics,
    batch: TransitionBatch,
    temperature: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The weighted mean of sum of pi * (temperature * log pi - Q) over the available actions
    (Christodoulou 2019, eq. 12); and the entropies `[B]`, detached."""
    log_p = log_policy(actor, batch.state, batch.actions)
    with torch.no_grad():
        value = critics.smaller(batch.state, batch.actions)
    cost = expectations(temperature * log_p - value, log_p, batch.actions)
    return (batch.weight * cost).mean(), entropies(log_p.detach(), batch.actions)


def temperature_loss(
    log_temperature: torch.Tensor, entropy: torch.Tensor, aim: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """The weighted mean of log(temperature) * (entropy - aim), `[B]` each: the temperature falls where
    there is more entropy than aimed at. Eq. 11 of Christodoulou 2019 has the temperature itself in place
    of its logarithm, which the author's implementation takes: its steps do not shrink with it."""
    return log_temperature * (weight * (entropy - aim)).mean()


class DiscreteSacLearner(LearnsInBatches):
    """Trains the served actor, two critics with slowly mixed copies, and the temperature."""

    def __init__(self, policy: ActorPolicy, config: DiscreteSacConfig, spec: ProblemSpec) -> None:
        self.policy: ServedPolicy = policy
        self._config = config
        self._actor = policy.network
        device = policy.network.out.weight.device
        self._critics = TwinCritics(spec, config.hidden).to(device)
        self._targets = frozen_copy(self._critics)
        self._temperature = Temperature(config.initial_temperature).to(device)
        actor, temperature = Weights(self._actor), Weights(self._temperature)
        self._critic_weights, self._target_weights = Weights(self._critics), Weights(self._targets)
        rate, norm, decay = config.learning_rate, config.max_gradient_norm, config.weight_decay
        self._actor_step = adam_of(actor, rate, norm, decay)
        self._critic_step = adam_of(self._critic_weights, rate, norm, decay)
        self._temperature_step = adam_of(temperature, config.temperature_learning_rate, norm)
        super().__init__(
            actor,
            {
                "critics": self._critic_weights,
                "targets": self._target_weights,
                "temperature": temperature,
                "actor_step": self._actor_step,
                "critic_step": self._critic_step,
                "temperature_step": self._temperature_step,
            },
        )

    def update(self, batch: TransitionBatch) -> Update:
        temperature = self._temperature().detach()
        target = soft_target(self._actor, self._targets, batch, temperature, self._config.discount)
        errors = self._critics.chosen(batch) - target
        step = self._critic_step.descend(critic_loss(errors, batch.weight))
        metrics = named("critic", step) | self._improve(batch, temperature, step)
        self._target_weights.move_towards(self._critic_weights, self._config.target_mix, step.moved)
        self.updates += 1
        return Update(metrics | {"mean_target": target.mean()}, mean_error(errors))

    def _improve(
        self, batch: TransitionBatch, temperature: torch.Tensor, after: Step
    ) -> dict[str, torch.Tensor]:
        """Moves the actor, and then the temperature by the entropy that it had."""
        loss, entropy = actor_loss(self._actor, self._critics, batch, temperature)
        step = self._actor_step.descend(loss, after)
        metrics = named("actor", step)
        aim = self._config.target_entropy_share * batch.actions.lengths().to(entropy).log()
        moved = temperature_loss(self._temperature.log, entropy, aim, batch.weight)
        metrics |= named("temperature", self._temperature_step.descend(moved, step))
        return metrics | {"temperature": temperature, "entropy": entropy.mean()}
