"""Proximal policy optimization: what `ppo` and `continuous_ppo` share.

Schulman et al. 2017, with the advantages of Schulman et al. 2016. The probability, or density, that an
action had when it was taken is the logged propensity, so whatever was really played counts: a floor, a
filter, the noise of an exploration, an older version of the policy.

A large reward that is rare moves the policy no further than the clip allows: where it makes the mean, an
action that always pays a little is preferred to it.
"""

from __future__ import annotations

from collections.abc import Callable
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
from agent_core.interfaces import PolicyLearnerConfig, Runner, ServedPolicy, Update
from agent_core.networks.perceptrons import StateNetwork
from agent_core.policy_learners.parts import LearnsInBatches, adam_of, named
from agent_core.policy_learners.weights import Weights
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
        """The decisions `rows` alone, in that order."""
        rest = (self.action, self.log_propensity, self.advantage, self.value_target, self.weight)
        actions = select_sets(self.actions, rows)
        return Judged(self.state[rows], actions, *(tensor[rows] for tensor in rest))

    def split(self, count: int) -> list[Judged]:
        """`count` parts of equal size, one after the other."""
        rest = (self.log_propensity, self.advantage, self.value_target, self.weight)
        columns = [part.chunk(count) for part in (self.state, self.action, *rest)]
        sets = self.actions.split(count)
        return [
            Judged(state, actions, *others)
            for actions, state, *others in zip(sets, *columns, strict=True)
        ]

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
        served, critic = Weights(actor), Weights(self._critic)
        self._actor_step = adam_of(served, config.learning_rate, norm, weight_decay)
        self._critic_step = adam_of(critic, config.critic_learning_rate, norm, weight_decay)
        super().__init__(
            served,
            {"critic": critic, "actor_step": self._actor_step, "critic_step": self._critic_step},
        )

    def update(self, batch: TransitionBatch) -> Update:
        del batch  # `learn_rollout` does all learning
        return Update({})

    def learn_rollout(
        self, rollout: Rollout, generator: torch.Generator, run: Runner
    ) -> list[Update]:
        """Goes `epochs` times through the rollout, in minibatches.

        The rows that are too few for a minibatch are left out of an epoch, others in each.
        """
        judged, size = self._judged(rollout), self._config.minibatch_size
        parts = max(1, len(judged.action) // size)
        made = []
        for _ in range(self._config.epochs):
            order = torch.randperm(len(judged.action), generator=generator)
            for rows in order[: parts * size].to(judged.state.device).split(_AT_ONCE * size):
                made += run(self.learn, judged.rows(rows), max(1, len(rows) // size))
        return made

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

    def learn(self, judged: Judged) -> Update:
        """One step of the actor and one of the critic."""
        config = self._config
        log_p, entropy = self._chances(judged)
        loss, log_ratio = surrogate_loss(log_p, entropy, judged, config.clip, config.entropy_weight)
        actor_step = self._actor_step.descend(loss)
        step = self._critic_step.descend(value_loss(self._critic, judged), actor_step)
        self.updates += 1
        clipped = (log_ratio.expm1().abs() > config.clip).float().mean()
        metrics = named("actor", actor_step) | named("critic", step)
        found = {"entropy": entropy.detach().mean(), "clipped_share": clipped}
        return Update(metrics | found)


_AT_ONCE = 8
"""Minibatches that are gathered together, and made one program of, however many an epoch has."""
