"""Implicit Q-learning over a box: learns from a log without asking what was never tried.

Kostrikov et al. 2022. No value of an action outside the log enters a target: the value of a state is an
upper expectile over the actions that were taken there, and the actor imitates those that did better.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt

from agent_core.functional.implicit import expectile_loss, preferences
from agent_core.functional.td import one_step_target
from agent_core.interfaces import (
    Capability,
    PolicyLearner,
    PolicyLearnerConfig,
    ServedPolicy,
    TrainingState,
    Update,
)
from agent_core.networks.box import BoxCritics, TruncatedGaussianActor
from agent_core.networks.perceptrons import StateNetwork
from agent_core.policy_learners.box import (
    SavedParts,
    TruncatedGaussianPolicy,
    adam_of,
    frozen_copy,
    move_towards,
    named,
)
from agent_core.types import ProblemSpec, TransitionBatch


class IqlConfig(PolicyLearnerConfig):
    """Configures `IqlLearner`.

    `hidden`: widths of the layers of all networks. `discount`: in [0, 1], what a reward one step later is
    worth. `expectile`: in [0.5, 1); at 0.5 states are worth what the log made of them, towards 1 what the
    best logged actions did. `inverse_temperature`: per unit of reward, how much better actions are
    preferred; 0 imitates the log. `target_mix`: in (0, 1], how far the target critics move towards the
    trained ones in each update.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"box", "sequential", "replay", "gradient", "actor", "td_error"}
    )
    kind: Literal["iql"] = "iql"
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (128, 128)
    discount: float = Field(default=0.99, ge=0, le=1)
    expectile: float = Field(default=0.7, ge=0.5, lt=1)
    inverse_temperature: float = Field(default=3.0, ge=0)
    learning_rate: float = Field(default=3e-4, gt=0)
    max_gradient_norm: float = Field(default=10.0, gt=0)
    target_mix: float = Field(default=0.005, gt=0, le=1)

    def build_policy(self, spec: ProblemSpec) -> TruncatedGaussianPolicy:
        return TruncatedGaussianPolicy(spec, self.hidden)

    def build_learner(self, policy: TruncatedGaussianPolicy, spec: ProblemSpec) -> PolicyLearner:
        return IqlLearner(policy, self, spec)


def iql_target(value: StateNetwork, batch: TransitionBatch, discount: float) -> torch.Tensor:
    """`[B]`: reward + discount * V(next state); no action is asked for (eq. 6)."""
    return one_step_target(batch.reward, batch.bootstraps, value(batch.next_state), discount)


def imitation_loss(
    actor: TruncatedGaussianActor, batch: TransitionBatch, preference: torch.Tensor
) -> torch.Tensor:
    """The mean of -weight * `preference` `[B]` * log-density of the logged action (eq. 7)."""
    log_density = actor.log_density(batch.state, batch.chosen_features())
    return -(batch.weight * preference * log_density).mean()


class IqlLearner:
    """Trains the served actor, a state value, and two critics with slowly mixed copies."""

    def __init__(
        self, policy: TruncatedGaussianPolicy, config: IqlConfig, spec: ProblemSpec
    ) -> None:
        self.policy: ServedPolicy = policy
        self._config = config
        device = policy.actor.raw_std.device
        self._actor = policy.actor
        self._value = StateNetwork(spec, config.hidden).to(device)
        self._critics = BoxCritics(spec, config.hidden, members=2).to(device)
        self._target_critics = frozen_copy(self._critics)
        rate, norm = config.learning_rate, config.max_gradient_norm
        self._actor_step = adam_of(self._actor, rate, norm)
        self._value_step = adam_of(self._value, rate, norm)
        self._critic_step = adam_of(self._critics, rate, norm)
        self._saved = SavedParts(
            {
                "value": self._value,
                "critics": self._critics,
                "target_critics": self._target_critics,
            },
            {
                "actor": self._actor_step,
                "value": self._value_step,
                "critics": self._critic_step,
            },
        )

    def observe(self, new: TransitionBatch) -> None:
        """Does nothing: everything is learned from replay."""

    def update(self, batch: TransitionBatch) -> Update:
        with torch.no_grad():
            target = iql_target(self._value, batch, self._config.discount)
            logged = self._target_critics.chosen(batch).amin(dim=0)
        errors = self._critics.chosen(batch) - target
        loss = (batch.weight * errors.square()).mean(dim=1).sum()
        metrics = named("critic", self._critic_step.descend(loss))
        if "skipped_non_finite" in metrics:
            return Update(metrics)
        metrics |= self._improve(batch, logged)
        move_towards(self._target_critics, self._critics, self._config.target_mix)
        metrics |= {"mean_target": float(target.mean())}
        return Update(metrics, errors.detach().abs().mean(dim=0))

    def _improve(self, batch: TransitionBatch, logged: torch.Tensor) -> dict[str, float]:
        """Moves the state value and the actor by what the target critics say of the logged actions, `[B]`."""
        config = self._config
        advantage = logged - self._value(batch.state)
        preference = preferences(advantage.detach(), config.inverse_temperature)
        value = expectile_loss(advantage, config.expectile, batch.weight)
        metrics = named("value", self._value_step.descend(value))
        actor = imitation_loss(self._actor, batch, preference)
        return metrics | named("actor", self._actor_step.descend(actor))

    def refresh(self, everything: Iterable[TransitionBatch]) -> None:
        """Does nothing: no statistics go stale."""

    def training_state(self) -> TrainingState:
        return self._saved.training_state()

    def load_training_state(self, state: TrainingState) -> None:
        self._saved.load_training_state(state)
