"""Proximal policy optimization: what `ppo` and `continuous_ppo` share.

Schulman et al. 2017, with the advantages of Schulman et al. 2016. The probability, or density, that an
action had when it was taken is the logged propensity, so whatever was really played counts: a floor, a
filter, the noise of an exploration, an older version of the policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import torch
from pydantic import Field, PositiveInt
from torch import nn

from agent_core.functional.policy_gradient import (
    clipped_surrogate,
    log_of_propensity,
    standardized,
)
from agent_core.functional.ragged import select_sets
from agent_core.functional.returns import generalized_advantages
from agent_core.functional.td import one_step_target
from agent_core.interfaces import PolicyLearnerConfig, ServedPolicy, TrainingState, Update
from agent_core.networks.perceptrons import StateNetwork
from agent_core.policy_learners.parts import LearnsInBatches, SavedParts, adam_of, named
from agent_core.types import ProblemSpec, RaggedActions, Rollout, TransitionBatch


class ProximalConfig(PolicyLearnerConfig):
    """What configures both.

    `hidden`: widths of the layers of actor and critic. `discount`: in [0, 1], what a reward one step later
    is worth. `trace`: lambda of the advantages, in [0, 1]. `clip`: how far the probability, or density,
    of an action may move from the logged one before its gradient stops, as a share. `epochs`: how often a
    rollout is gone through, in shuffled minibatches of about `minibatch_size`. `entropy_weight`: what a
    nat of entropy, in a box over the unit box, is worth, in standard deviations of the advantage.
    """

    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (64, 64)
    discount: float = Field(default=0.99, ge=0, le=1)
    trace: float = Field(default=0.95, ge=0, le=1)
    clip: float = Field(default=0.2, gt=0, lt=1)
    epochs: int = Field(default=4, ge=1)
    minibatch_size: int = Field(default=64, ge=1)
    entropy_weight: float = Field(default=0.01, ge=0)
    learning_rate: float = Field(default=3e-4, gt=0)
    critic_learning_rate: float = Field(default=1e-3, gt=0)
    max_gradient_norm: float = Field(default=0.5, gt=0)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """B decisions and what was found out about them.

    `state`: `[B, S]`. `actions`: the sets they were taken from. `action`: `[B]`, position in the set.
    `log_propensity`: `[B]`, of the behaviour policy. `advantage`, `value_target`, `weight`: `[B]`.
    """

    state: torch.Tensor
    actions: RaggedActions
    action: torch.Tensor
    log_propensity: torch.Tensor
    advantage: torch.Tensor
    value_target: torch.Tensor
    weight: torch.Tensor

    def rows(self, rows: torch.Tensor) -> Judged:
        """The decisions `rows` alone."""
        rest = (self.action, self.log_propensity, self.advantage, self.value_target, self.weight)
        actions = select_sets(self.actions, rows)
        return Judged(self.state[rows], actions, *(tensor[rows] for tensor in rest))

    def chosen_rows(self) -> torch.Tensor:
        """`[B]` int64: the row of `actions.features` that was taken."""
        return self.actions.offsets[:-1] + self.action


Chances: TypeAlias = Callable[[Judged], tuple[torch.Tensor, torch.Tensor]]
"""Log-probabilities, or log-densities, `[B]` of the actions that were taken, and entropies `[B]` in nats, both
with gradient."""


def errors_of(critic: StateNetwork, batch: TransitionBatch, discount: float) -> torch.Tensor:
    """`[N]`: reward + discount * V(next state) - V(state), each by its own next state."""
    target = one_step_target(batch.reward, batch.bootstraps, critic(batch.next_state), discount)
    value: torch.Tensor = critic(batch.state)
    return target - value


def advantages(
    critic: StateNetwork, rollout: Rollout, discount: float, trace: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """`[N]` advantages (Schulman et al. 2016, eq. 16) and `[N]` targets of the value of a state.

    A cut episode bootstraps from its own next state.
    """
    errors = errors_of(critic, rollout.batch, discount)
    advantage = generalized_advantages(errors, rollout.offsets, discount, trace)
    return advantage, advantage + critic(rollout.batch.state)


def surrogate_loss(
    log_p: torch.Tensor, entropy: torch.Tensor, judged: Judged, clip: float, entropy_weight: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The negative of eq. 9 of Schulman et al. 2017 without its value term, and log-ratios `[B]`, detached.

    `log_p`, `entropy`: as in `Chances`.
    """
    log_ratio = log_p - judged.log_propensity
    gain = clipped_surrogate(log_ratio, judged.advantage, clip) + entropy_weight * entropy
    return -(judged.weight * gain).mean(), log_ratio.detach()


def value_loss(critic: StateNetwork, judged: Judged) -> torch.Tensor:
    """The weighted mean of half the squared errors of V(state)."""
    value: torch.Tensor = critic(judged.state)
    return 0.5 * (judged.weight * (value - judged.value_target).square()).mean()


class ProximalLearner(LearnsInBatches):
    """Trains the served actor, and a critic that is not served."""

    def __init__(
        self,
        policy: ServedPolicy,
        actor: nn.Module,
        chances: Chances,
        config: ProximalConfig,
        spec: ProblemSpec,
        weight_decay: float = 0.0,
    ) -> None:
        self.policy = policy
        self._config = config
        self._chances = chances
        self._critic = StateNetwork(spec, config.hidden).to(next(actor.parameters()).device)
        norm = config.max_gradient_norm
        self._actor_step = adam_of(actor, config.learning_rate, norm, weight_decay)
        self._critic_step = adam_of(self._critic, config.critic_learning_rate, norm, weight_decay)
        self._saved = SavedParts(
            {"critic": self._critic},
            {"actor_step": self._actor_step, "critic_step": self._critic_step},
        )

    def update(self, batch: TransitionBatch) -> Update:
        del batch  # `learn_rollout` does all learning
        return Update({})

    def learn_rollout(self, rollout: Rollout, generator: torch.Generator) -> list[Update]:
        """Goes `epochs` times through the rollout."""
        judged = self._judged(rollout)
        return [
            self._learn(judged.rows(rows))
            for _ in range(self._config.epochs)
            for rows in self._minibatches(judged, generator)
        ]

    @torch.no_grad()
    def _judged(self, rollout: Rollout) -> Judged:
        batch, config = rollout.batch, self._config
        advantage, value_target = advantages(self._critic, rollout, config.discount, config.trace)
        return Judged(
            batch.state,
            batch.actions,
            batch.action,
            log_of_propensity(batch.propensity),
            standardized(advantage),
            value_target,
            batch.weight,
        )

    def _minibatches(self, judged: Judged, generator: torch.Generator) -> Iterator[torch.Tensor]:
        # Nearly equal parts: a last one of a few rows would be noise at the full step.
        count = len(judged.action)
        parts = -(-count // self._config.minibatch_size)
        shuffled = torch.randperm(count, generator=generator).to(judged.state.device)
        yield from shuffled.tensor_split(parts)

    def _learn(self, judged: Judged) -> Update:
        config = self._config
        log_p, entropy = self._chances(judged)
        loss, log_ratio = surrogate_loss(log_p, entropy, judged, config.clip, config.entropy_weight)
        metrics = named("actor", self._actor_step.descend(loss))
        metrics |= named("critic", self._critic_step.descend(value_loss(self._critic, judged)))
        if "skipped_non_finite" in metrics:
            return Update(metrics)
        clipped = (log_ratio.expm1().abs() > config.clip).float().mean()
        found = {"entropy": float(entropy.detach().mean()), "clipped_share": float(clipped)}
        return Update(metrics | found)

    def training_state(self) -> TrainingState:
        return self._saved.training_state()

    def load_training_state(self, state: TrainingState) -> None:
        self._saved.load_training_state(state)
