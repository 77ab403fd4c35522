"""Implicit Q-learning over action sets: learns from a log without asking what was never tried.

Kostrikov et al. 2022. No value of an action outside the log enters a target: the value of a state is an
upper expectile over the actions that were taken there, and the actor imitates those that did better.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt

from agent_core.functional.flat_state import below, under
from agent_core.functional.td import one_step_target
from agent_core.interfaces import (
    Capability,
    PolicyLearner,
    PolicyLearnerConfig,
    ServedPolicy,
    TrainingState,
    Update,
)
from agent_core.networks.perceptrons import ActionValueNetwork, StateNetwork
from agent_core.networks.twin_critics import TwinCritics
from agent_core.policy_learners.actor import ActorPolicy, log_policy
from agent_core.policy_learners.gradient import GradientStep
from agent_core.types import ProblemSpec, TransitionBatch


class DiscreteIqlConfig(PolicyLearnerConfig):
    """Configures `DiscreteIqlLearner`.

    `hidden`: widths of the layers of all networks. `discount`: in [0, 1], what a reward one step later is
    worth. `expectile`: in [0.5, 1); at 0.5 states are worth what the log made of them, towards 1 what the
    best logged actions did. `inverse_temperature`: per unit of reward, how much better actions are
    preferred; 0 imitates the log. `target_mix`: in (0, 1], how far the target critics move towards the
    trained ones in each update.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"sequential", "sets", "replay", "gradient", "actor", "td_error"}
    )
    kind: Literal["discrete_iql"] = "discrete_iql"
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (128, 128)
    discount: float = Field(default=0.99, ge=0, le=1)
    expectile: float = Field(default=0.7, ge=0.5, lt=1)
    inverse_temperature: float = Field(default=3.0, ge=0)
    learning_rate: float = Field(default=3e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_gradient_norm: float = Field(default=10.0, gt=0)
    target_mix: float = Field(default=0.005, gt=0, le=1)

    def build_policy(self, spec: ProblemSpec) -> ActorPolicy:
        return ActorPolicy(spec, self.hidden)

    def build_learner(self, policy: ActorPolicy, spec: ProblemSpec) -> PolicyLearner:
        return DiscreteIqlLearner(policy, self, spec)


def expectile_loss(
    differences: torch.Tensor, expectile: float, weight: torch.Tensor
) -> torch.Tensor:
    """The mean of weight * |expectile - 1(u < 0)| * u^2 (Kostrikov et al. 2022, eq. 5).

    `differences`: `[B]`, u = Q(state, chosen action) - V(state).
    """
    share = torch.where(differences < 0, 1 - expectile, expectile)
    return (weight * share * differences.square()).mean()


def critic_loss(errors: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The sum over both critics of the mean of weight * squared error (eq. 6); `errors`: `[2, B]`, Q of
    the chosen action minus reward + discount * V(next state)."""
    return (weight * errors.square()).mean(dim=1).sum()


def actor_loss(
    actor: ActionValueNetwork,
    batch: TransitionBatch,
    advantage: torch.Tensor,
    inverse_temperature: float,
) -> torch.Tensor:
    """The weighted mean of -exp(inverse_temperature * advantage) * log pi(chosen action | state) over the
    available actions (eq. 7). `advantage`: `[B]`. The exponential is bounded by 100, as in the authors'
    implementation: else a few surprising rows would be all that is learned from."""
    log_p = log_policy(actor, batch.state, batch.actions)[batch.chosen_rows()]
    preference = (inverse_temperature * advantage).exp().clamp_max(_LARGEST_PREFERENCE)
    return -(batch.weight * preference * log_p).mean()


_LARGEST_PREFERENCE = 100.0


class DiscreteIqlLearner:
    """Trains the served actor, a state value, and two critics with slowly mixed copies."""

    def __init__(self, policy: ActorPolicy, config: DiscreteIqlConfig, spec: ProblemSpec) -> None:
        self.policy: ServedPolicy = policy
        self._config = config
        self._actor = policy.network
        device = policy.network.out.weight.device
        self._value = StateNetwork(spec, config.hidden).to(device)
        self._critics = TwinCritics(spec, config.hidden).to(device)
        self._targets = copy.deepcopy(self._critics).requires_grad_(False)
        self._actor_step = _step(self._actor, config)
        self._value_step = _step(self._value, config)
        self._critic_step = _step(self._critics, config)

    def observe(self, new: TransitionBatch) -> None:
        """Does nothing: everything is learned from replay."""

    def update(self, batch: TransitionBatch) -> Update:
        config, chosen = self._config, batch.chosen_features()
        with torch.no_grad():
            next_value = self._value(batch.next_state)
            value = self._targets.pairs(batch.state, chosen).amin(dim=0)
        target = one_step_target(batch.reward, batch.bootstraps, next_value, config.discount)
        errors = self._critics.pairs(batch.state, chosen) - target
        metrics = self._critic_step.descend(critic_loss(errors, batch.weight))
        if "skipped_non_finite" in metrics:
            return Update(metrics)
        metrics |= self._improve(batch, value)
        trained = [parameter.detach() for parameter in self._critics.parameters()]
        torch._foreach_lerp_(list(self._targets.parameters()), trained, config.target_mix)
        return Update(metrics, errors.detach().abs().mean(dim=0))

    def refresh(self, everything: Iterable[TransitionBatch]) -> None:
        """Does nothing: no statistics go stale."""

    def training_state(self) -> TrainingState:
        state = under("value", self._value.state_dict())
        state |= under("critics", self._critics.state_dict())
        state |= under("targets", self._targets.state_dict())
        state |= under("actor_step", self._actor_step.training_state())
        state |= under("value_step", self._value_step.training_state())
        return state | under("critic_step", self._critic_step.training_state())

    def load_training_state(self, state: TrainingState) -> None:
        self._value.load_state_dict(below("value", state))
        self._critics.load_state_dict(below("critics", state))
        self._targets.load_state_dict(below("targets", state))
        self._actor_step.load_training_state(below("actor_step", state))
        self._value_step.load_training_state(below("value_step", state))
        self._critic_step.load_training_state(below("critic_step", state))

    def _improve(self, batch: TransitionBatch, chosen_value: torch.Tensor) -> dict[str, float]:
        """Moves the state value and the actor towards what the target critics `[B]` say."""
        config = self._config
        advantage = chosen_value - self._value(batch.state)
        loss = actor_loss(self._actor, batch, advantage.detach(), config.inverse_temperature)
        value = self._value_step.descend(expectile_loss(advantage, config.expectile, batch.weight))
        actor = self._actor_step.descend(loss)
        if "skipped_non_finite" in value | actor:
            return {"skipped_non_finite": 1.0}
        return {"value_loss": value["loss"], "actor_loss": actor["loss"]}


def _step(network: torch.nn.Module, config: DiscreteIqlConfig) -> GradientStep:
    return GradientStep(
        dict(network.named_parameters()),
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        max_norm=config.max_gradient_norm,
    )
