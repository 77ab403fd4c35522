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
from agent_core.interfaces import PolicyLearnerConfig, ServedPolicy, TrainingState, Update
from agent_core.networks.perceptrons import StateNetwork
from agent_core.policy_learners.parts import (
    LearnsInBatches,
    SavedParts,
    adam_of,
    frozen_copy,
    move_towards,
    named,
)
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
    max_gradient_norm: float = Field(default=10.0, gt=0)
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
        rate, norm = config.learning_rate, config.max_gradient_norm
        self._actor_step = adam_of(actor, rate, norm, weight_decay)
        self._value_step = adam_of(self._value, rate, norm, weight_decay)
        self._critic_step = adam_of(self._critics, rate, norm, weight_decay)
        self._saved = SavedParts(
            {"value": self._value, "critics": self._critics, "targets": self._targets},
            {
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
        metrics = named("critic", self._critic_step.descend(squared_loss(errors, batch.weight)))
        if "skipped_non_finite" in metrics:
            return Update(metrics)
        metrics |= self._improve(batch, logged)
        move_towards(self._targets, self._critics, self._config.target_mix)
        return Update(metrics | {"mean_target": float(target.mean())}, mean_error(errors))

    def _improve(self, batch: TransitionBatch, logged: torch.Tensor) -> dict[str, float]:
        """Moves the state value and the actor by what the target critics say of the logged actions, `[B]`."""
        config, weight = self._config, batch.weight
        advantage = logged - self._value(batch.state)
        preference = preferences(advantage.detach(), config.inverse_temperature)
        value = expectile_loss(advantage, config.expectile, weight)
        metrics = named("value", self._value_step.descend(value))
        actor = imitation_loss(self._log_chosen(batch), preference, weight)
        return metrics | named("actor", self._actor_step.descend(actor))

    def training_state(self) -> TrainingState:
        return self._saved.training_state()

    def load_training_state(self, state: TrainingState) -> None:
        self._saved.load_training_state(state)
