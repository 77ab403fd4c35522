"""Proximal policy optimization over action sets that change from one decision to the next.

Schulman et al. 2017, with the advantages of Schulman et al. 2016. The probability that an action had when
it was taken is the logged propensity, so whatever was really played counts: a floor, a filter, an older
version of the policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt

from agent_core.functional.flat_state import below, under
from agent_core.functional.policy_gradient import (
    clipped_surrogate,
    entropies,
    log_of_propensity,
    standardized,
)
from agent_core.functional.ragged import select_sets
from agent_core.functional.returns import generalized_advantages
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
from agent_core.policy_learners.actor import ActorPolicy, log_policy
from agent_core.policy_learners.gradient import GradientStep
from agent_core.types import ProblemSpec, RaggedActions, Rollout, TransitionBatch


class PpoConfig(PolicyLearnerConfig):
    """Configures `PpoLearner`.

    `hidden`: widths of the layers of actor and critic. `discount`: in [0, 1], what a reward one step later
    is worth. `trace`: lambda of the advantages, in [0, 1]. `clip`: how far the probability of an action
    may move from the logged one before its gradient stops, as a share. `epochs`: how often a rollout is
    gone through, in shuffled minibatches of about `minibatch_size`. `entropy_weight`: what a nat of
    entropy is worth, in standard deviations of the advantage.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"sequential", "sets", "on_policy", "gradient", "actor"}
    )
    kind: Literal["ppo"] = "ppo"
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (64, 64)
    discount: float = Field(default=0.99, ge=0, le=1)
    trace: float = Field(default=0.95, ge=0, le=1)
    clip: float = Field(default=0.2, gt=0, lt=1)
    epochs: int = Field(default=4, ge=1)
    minibatch_size: int = Field(default=64, ge=1)
    entropy_weight: float = Field(default=0.01, ge=0)
    learning_rate: float = Field(default=3e-4, gt=0)
    critic_learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_gradient_norm: float = Field(default=0.5, gt=0)

    def build_policy(self, spec: ProblemSpec) -> ActorPolicy:
        return ActorPolicy(spec, self.hidden)

    def build_learner(self, policy: ActorPolicy, spec: ProblemSpec) -> PolicyLearner:
        return PpoLearner(policy, self, spec)


@dataclass(frozen=True, slots=True, eq=False)
class PpoBatch:
    """B decisions and what was found out about them.

    `actions`: the sets they were taken from. `action`: `[B]`, position in the set. `log_propensity`: `[B]`,
    of the behaviour policy. `advantage`: `[B]`. `value_target`: `[B]`. `weight`: `[B]`.
    """

    state: torch.Tensor
    actions: RaggedActions
    action: torch.Tensor
    log_propensity: torch.Tensor
    advantage: torch.Tensor
    value_target: torch.Tensor
    weight: torch.Tensor

    def rows(self, rows: torch.Tensor) -> PpoBatch:
        """The decisions `rows` alone."""
        rest = (self.action, self.log_propensity, self.advantage, self.value_target, self.weight)
        actions = select_sets(self.actions, rows)
        return PpoBatch(self.state[rows], actions, *(tensor[rows] for tensor in rest))


def errors_of(critic: StateNetwork, batch: TransitionBatch, discount: float) -> torch.Tensor:
    """`[N]`: reward + discount * V(next state) - V(state), each by its own next state."""
    target = one_step_target(batch.reward, batch.bootstraps, critic(batch.next_state), discount)
    value: torch.Tensor = critic(batch.state)
    return target - value


def ppo_loss(
    actor: ActionValueNetwork, batch: PpoBatch, clip: float, entropy_weight: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The negative of eq. 9 of Schulman et al. 2017 without its value term; and detached, `[B]` each, the
    log-ratios and the entropies."""
    log_p = log_policy(actor, batch.state, batch.actions)
    log_ratio = log_p[batch.actions.offsets[:-1] + batch.action] - batch.log_propensity
    entropy = entropies(log_p, batch.actions.segments(), len(batch.state))
    gain = clipped_surrogate(log_ratio, batch.advantage, clip) + entropy_weight * entropy
    return -(batch.weight * gain).mean(), log_ratio.detach(), entropy.detach()


def value_loss(critic: StateNetwork, batch: PpoBatch) -> torch.Tensor:
    """The weighted mean of half the squared errors of V(state)."""
    value: torch.Tensor = critic(batch.state)
    return 0.5 * (batch.weight * (value - batch.value_target).square()).mean()


class PpoLearner:
    """Trains the served actor, and a critic that is not served."""

    def __init__(self, policy: ActorPolicy, config: PpoConfig, spec: ProblemSpec) -> None:
        self.policy: ServedPolicy = policy
        self._config = config
        self._actor = policy.network
        self._critic = StateNetwork(spec, config.hidden).to(policy.network.out.weight.device)
        self._actor_step = _step(self._actor, config, config.learning_rate)
        self._critic_step = _step(self._critic, config, config.critic_learning_rate)

    def observe(self, new: TransitionBatch) -> None:
        """Does nothing: it learns from whole episodes."""

    def update(self, batch: TransitionBatch) -> Update:
        del batch  # `learn_rollout` does all learning
        return Update({})

    def refresh(self, everything: Iterable[TransitionBatch]) -> None:
        """Does nothing: no statistics go stale."""

    def learn_rollout(self, rollout: Rollout, generator: torch.Generator) -> list[Update]:
        """Goes `epochs` times through the rollout."""
        judged = self._judged(rollout)
        return [
            self._learn(judged.rows(rows))
            for _ in range(self._config.epochs)
            for rows in self._minibatches(len(judged.action), generator, judged.state.device)
        ]

    def training_state(self) -> TrainingState:
        state = under("critic", self._critic.state_dict())
        state |= under("actor_step", self._actor_step.training_state())
        return state | under("critic_step", self._critic_step.training_state())

    def load_training_state(self, state: TrainingState) -> None:
        self._critic.load_state_dict(below("critic", state))
        self._actor_step.load_training_state(below("actor_step", state))
        self._critic_step.load_training_state(below("critic_step", state))

    @torch.no_grad()
    def _judged(self, rollout: Rollout) -> PpoBatch:
        batch, config = rollout.batch, self._config
        errors = errors_of(self._critic, batch, config.discount)
        advantage = generalized_advantages(errors, rollout.offsets, config.discount, config.trace)
        return PpoBatch(
            batch.state,
            batch.actions,
            batch.action,
            log_of_propensity(batch.propensity),
            standardized(advantage),
            advantage + self._critic(batch.state),
            batch.weight,
        )

    def _minibatches(
        self, count: int, generator: torch.Generator, device: torch.device
    ) -> Iterator[torch.Tensor]:
        # Nearly equal parts: a last one of a few rows would be noise at the full step.
        parts = -(-count // self._config.minibatch_size)
        shuffled = torch.randperm(count, generator=generator).to(device)
        yield from shuffled.tensor_split(parts)

    def _learn(self, batch: PpoBatch) -> Update:
        config = self._config
        loss, log_ratio, entropy = ppo_loss(self._actor, batch, config.clip, config.entropy_weight)
        metrics = self._actor_step.descend(loss)
        value = self._critic_step.descend(value_loss(self._critic, batch))
        if "skipped_non_finite" in metrics | value:
            return Update({"skipped_non_finite": 1.0})
        clipped = (log_ratio.expm1().abs() > config.clip).float().mean()
        metrics |= {"critic_loss": value["loss"], "entropy": float(entropy.mean())}
        return Update(metrics | {"clipped_share": float(clipped)})


def _step(network: torch.nn.Module, config: PpoConfig, learning_rate: float) -> GradientStep:
    return GradientStep(
        dict(network.named_parameters()),
        learning_rate=learning_rate,
        weight_decay=config.weight_decay,
        max_norm=config.max_gradient_norm,
    )
