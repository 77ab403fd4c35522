"""Soft actor-critic over action sets that change from one decision to the next.

Christodoulou 2019, with twin critics. All expectations over actions are exact sums over the set that is
available. One difference: the entropy aimed at is a share of the largest that the set allows, log(A), for
each state by itself; one number for all would be out of reach for a small set and nothing for a large one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import nn

from agent_core.functional.flat_state import below, under
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
from agent_core.networks.perceptrons import ActionValueNetwork
from agent_core.networks.twin_critics import TwinCritics
from agent_core.policy_learners.actor import ActorPolicy, log_policy
from agent_core.policy_learners.gradient import GradientStep
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
    return 0.5 * (weight * errors.square()).mean(dim=1).sum()


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


class DiscreteSacLearner:
    """Trains the served actor, two critics with slowly mixed copies, and the temperature."""

    def __init__(self, policy: ActorPolicy, config: DiscreteSacConfig, spec: ProblemSpec) -> None:
        self.policy: ServedPolicy = policy
        self._config = config
        self._actor = policy.network
        device = policy.network.out.weight.device
        self._critics = TwinCritics(spec, config.hidden).to(device)
        self._targets = copy.deepcopy(self._critics).requires_grad_(False)
        start = torch.tensor(math.log(config.initial_temperature), device=device)
        self._log_temperature = nn.Parameter(start)
        rate, decay = config.learning_rate, config.weight_decay
        self._actor_step = self._step(dict(self._actor.named_parameters()), rate, decay)
        self._critic_step = self._step(dict(self._critics.named_parameters()), rate, decay)
        self._temperature_step = self._step(
            {"log": self._log_temperature}, config.temperature_learning_rate, 0.0
        )

    def observe(self, new: TransitionBatch) -> None:
        """Does nothing: everything is learned from replay."""

    def update(self, batch: TransitionBatch) -> Update:
        temperature = self._log_temperature.detach().exp()
        target = soft_target(self._actor, self._targets, batch, temperature, self._config.discount)
        errors = self._critics.pairs(batch.state, batch.chosen_features()) - target
        metrics = self._critic_step.descend(critic_loss(errors, batch.weight))
        if "skipped_non_finite" in metrics:
            return Update(metrics)
        metrics |= self._improve(batch, temperature)
        trained = [parameter.detach() for parameter in self._critics.parameters()]
        torch._foreach_lerp_(list(self._targets.parameters()), trained, self._config.target_mix)
        return Update(metrics, errors.detach().abs().mean(dim=0))

    def refresh(self, everything: Iterable[TransitionBatch]) -> None:
        """Does nothing: no statistics go stale."""

    def training_state(self) -> TrainingState:
        state = {"log_temperature": self._log_temperature.detach().clone()}
        state |= under("critics", self._critics.state_dict())
        state |= under("targets", self._targets.state_dict())
        state |= under("actor_step", self._actor_step.training_state())
        state |= under("critic_step", self._critic_step.training_state())
        return state | under("temperature_step", self._temperature_step.training_state())

    def load_training_state(self, state: TrainingState) -> None:
        with torch.no_grad():
            self._log_temperature.copy_(state["log_temperature"])
        self._critics.load_state_dict(below("critics", state))
        self._targets.load_state_dict(below("targets", state))
        self._actor_step.load_training_state(below("actor_step", state))
        self._critic_step.load_training_state(below("critic_step", state))
        self._temperature_step.load_training_state(below("temperature_step", state))

    def _improve(self, batch: TransitionBatch, temperature: torch.Tensor) -> dict[str, float]:
        loss, entropy = actor_loss(self._actor, self._critics, batch, temperature)
        metrics = self._actor_step.descend(loss)
        if "skipped_non_finite" in metrics:
            return metrics
        sizes = batch.actions.offsets[1:] - batch.actions.offsets[:-1]
        aim = self._config.target_entropy_share * sizes.to(entropy).log()
        self._temperature_step.descend(
            temperature_loss(self._log_temperature, entropy, aim, batch.weight)
        )
        found = {"actor_loss": metrics["loss"], "entropy": float(entropy.mean())}
        return found | {"temperature": float(temperature)}

    def _step(
        self, parameters: dict[str, nn.Parameter], learning_rate: float, weight_decay: float
    ) -> GradientStep:
        return GradientStep(
            parameters,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            max_norm=self._config.max_gradient_norm,
        )
