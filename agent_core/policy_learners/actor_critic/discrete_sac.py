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
    TrainingState,
    Update,
)
from agent_core.networks.box import Temperature
from agent_core.networks.perceptrons import ActionValueNetwork
from agent_core.networks.twin_critics import TwinCritics
from agent_core.policy_learners.actor import ActorPolicy, log_policy
from agent_core.policy_learners.parts import (
    LearnsInBatches,
    SavedParts,
    adam_of,
    frozen_copy,
    move_towards,
    named,
)
from agent_core.types import ProblemSpec, TransitionBatch


class DiscreteSacConfig(PolicyLearnerConfig):
    """Configures `DiscreteSacLearner`.

    `hidden`: widths of the layers of actor and critics. `discount`: in [0, 1], what a reward one step later
    is worth. `target_mix`: in (0, 1], how far the target critics move towards the trained ones in each
    update. `target_entropy_share`: of log(number of available actions), what the temperature steers for.
    `initial_temperature`: reward per nat of entropy before anything is learned.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"sequential", "sets", "replay", "gradient", "actor", "td_error"}
    )
    kind: Literal["discrete_sac"] = "discrete_sac"
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (128, 128)
    discount: float = Field(default=0.99, ge=0, le=1)
    learning_rate: float = Field(default=3e-4, gt=0)
    temperature_learning_rate: float = Field(default=3e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_gradient_norm: float = Field(default=10.0, gt=0)
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
    following, count = batch.next_actions, len(batch.reward)
    log_p = log_policy(actor, batch.next_state, following)
    soft = targets.smaller(batch.next_state, following) - temperature * log_p
    value = expectations(soft, log_p, following.segments(), count)
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
    segments, count = batch.actions.segments(), len(batch.reward)
    log_p = log_policy(actor, batch.state, batch.actions)
    with torch.no_grad():
        value = critics.smaller(batch.state, batch.actions)
    cost = expectations(temperature * log_p - value, log_p, segments, count)
    return (batch.weight * cost).mean(), entropies(log_p.detach(), segments, count)


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
        rate, norm, decay = config.learning_rate, config.max_gradient_norm, config.weight_decay
        self._actor_step = adam_of(self._actor, rate, norm, decay)
        self._critic_step = adam_of(self._critics, rate, norm, decay)
        rate = config.temperature_learning_rate
        self._temperature_step = adam_of(self._temperature, rate, norm)
        self._saved = SavedParts(
            {"critics": self._critics, "targets": self._targets},
            {
                "actor_step": self._actor_step,
                "critic_step": self._critic_step,
                "temperature_step": self._temperature_step,
            },
        )

    def update(self, batch: TransitionBatch) -> Update:
        temperature = self._temperature().detach()
        target = soft_target(self._actor, self._targets, batch, temperature, self._config.discount)
        errors = self._critics.chosen(batch) - target
        metrics = named("critic", self._critic_step.descend(critic_loss(errors, batch.weight)))
        if "skipped_non_finite" in metrics:
            return Update(metrics)
        metrics |= self._improve(batch, temperature)
        move_towards(self._targets, self._critics, self._config.target_mix)
        return Update(metrics | {"mean_target": float(target.mean())}, mean_error(errors))

    def _improve(self, batch: TransitionBatch, temperature: torch.Tensor) -> dict[str, float]:
        """Moves the actor, and then the temperature by the entropy that it had."""
        loss, entropy = actor_loss(self._actor, self._critics, batch, temperature)
        metrics = named("actor", self._actor_step.descend(loss))
        if "skipped_non_finite" in metrics:
            return metrics
        sizes = batch.actions.offsets[1:] - batch.actions.offsets[:-1]
        aim = self._config.target_entropy_share * sizes.to(entropy).log()
        moved = temperature_loss(self._temperature.log, entropy, aim, batch.weight)
        metrics |= named("temperature", self._temperature_step.descend(moved))
        return metrics | {"temperature": float(temperature), "entropy": float(entropy.mean())}

    def training_state(self) -> TrainingState:
        log_temperature = self._temperature.log.detach().clone()
        return self._saved.training_state() | {"log_temperature": log_temperature}

    def load_training_state(self, state: TrainingState) -> None:
        self._saved.load_training_state(state)
        self._temperature.load_state_dict({"log": state["log_temperature"]})
