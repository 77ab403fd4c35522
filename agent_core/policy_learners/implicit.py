"""Implicit Q-learning: what `discrete_iql` and `iql` share.

Kostrikov et al. 2022. No value of an action outside the log enters a target: the value of a state is an
upper expectile over the actions that were taken there, and the actor imitates those that did better.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Generic, NamedTuple, TypeVar

import torch
from pydantic import Field, PositiveInt
from torch import nn

from agent_core.functional.critics import mean_error, squared_loss
from agent_core.functional.implicit import expectile_loss, imitation_loss, preferences
from agent_core.functional.td import one_step_target
from agent_core.interfaces import PolicyLearnerConfig, ServedPolicy, Update
from agent_core.networks.perceptrons import StateNetwork
from agent_core.policy_learners.gradient import MaxGradientNorm, Step
from agent_core.policy_learners.parts import LearnsInBatches, adam_of, frozen_copy, named
from agent_core.policy_learners.weights import Weights
from agent_core.types import ProblemSpec, TransitionBatch

_Critics = TypeVar("_Critics", bound=nn.Module)


class ImplicitConfig(PolicyLearnerConfig):
    """What configures both.

    `hidden`: widths of the layers of all networks. `discount`: in [0, 1], what a reward one step later is
    worth. `expectile`: in [0.5, 1); at 0.5 states are worth what the log made of them, towards 1 what the
    best logged actions did. `inverse_temperature`: per unit of reward, how much better actions are
    preferred; 0 imitates the log. `target_mix`: in (0, 1], how far the target critics move towards the
    trained ones in each update.
    """

    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (128, 128)
    discount: float = Field(default=0.99, ge=0, le=1)
    expectile: float = Field(default=0.7, ge=0.5, lt=1)
    inverse_temperature: float = Field(default=3.0, ge=0)
    learning_rate: float = Field(default=3e-4, gt=0)
    max_gradient_norm: MaxGradientNorm = None
    target_mix: float = Field(default=0.005, gt=0, le=1)


class CriticForm(NamedTuple, Generic[_Critics]):
    """Critics of sets, or of a box.

    `build`: makes them. `chosen`: their values `[M, B]` of the actions that were taken.
    """

    build: Callable[[ProblemSpec, tuple[int, ...]], _Critics]
    chosen: Callable[[_Critics, TransitionBatch], torch.Tensor]


def iql_target(value: StateNetwork, batch: TransitionBatch, discount: float) -> torch.Tensor:
    """`[B]`: reward + discount * V(next state); no action is asked for (eq. 6)."""
    return one_step_target(batch.reward, batch.bootstraps, value(batch.next_state), discount)


class ImplicitLearner(LearnsInBatches, Generic[_Critics]):
    """Trains the served actor, a state value, and two critics with slowly mixed copies.

    `log_chosen`: log-probabilities, or log-densities, `[B]` of the logged actions, with gradient.
    """

    def __init__(
        self,
        policy: ServedPolicy,
        actor: nn.Module,
        log_chosen: Callable[[TransitionBatch], torch.Tensor],
        form: CriticForm[_Critics],
        config: ImplicitConfig,
        spec: ProblemSpec,
        weight_decay: float = 0.0,
    ) -> None:
        self.policy = policy
        self._config = config
        self._log_chosen = log_chosen
        self._chosen = form.chosen
        device = next(actor.parameters()).device
        self._value = StateNetwork(spec, config.hidden).to(device)
        self._critics = form.build(spec, config.hidden).to(device)
        self._targets = frozen_copy(self._critics)
        actor_weights, value = Weights(actor), Weights(self._value)
        self._critic_weights, self._target_weights = Weights(self._critics), Weights(self._targets)
        rate, norm = config.learning_rate, config.max_gradient_norm
        self._actor_step = adam_of(actor_weights, rate, norm, weight_decay)
        self._value_step = adam_of(value, rate, norm, weight_decay)
        self._critic_step = adam_of(self._critic_weights, rate, norm, weight_decay)
        super().__init__(
            actor_weights,
            {
                "value": value,
                "critics": self._critic_weights,
                "targets": self._target_weights,
                "actor_step": self._actor_step,
                "value_step": self._value_step,
                "critic_step": self._critic_step,
            },
        )

    def update(self, batch: TransitionBatch) -> Update:
        with torch.no_grad():
            target = iql_target(self._value, batch, self._config.discount)
            logged = self._chosen(self._targets, batch).amin(dim=0)
        errors = self._chosen(self._critics, batch) - target
        step = self._critic_step.descend(squared_loss(errors, batch.weight))
        metrics = named("critic", step) | self._improve(batch, logged, step)
        self._target_weights.move_towards(self._critic_weights, self._config.target_mix, step.moved)
        self.updates += 1
        return Update(metrics | {"mean_target": target.mean()}, mean_error(errors))

    def _improve(
        self, batch: TransitionBatch, logged: torch.Tensor, after: Step
    ) -> dict[str, torch.Tensor]:
        """Moves the state value and the actor by what the target critics say of the logged actions, `[B]`."""
        config, weight = self._config, batch.weight
        advantage = logged - self._value(batch.state)
        preference = preferences(advantage.detach(), config.inverse_temperature)
        value = expectile_loss(advantage, config.expectile, weight)
        value_step = self._value_step.descend(value, after)
        actor = imitation_loss(self._log_chosen(batch), preference, weight)
        actor_step = self._actor_step.descend(actor, value_step)
        return named("value", value_step) | named("actor", actor_step)
