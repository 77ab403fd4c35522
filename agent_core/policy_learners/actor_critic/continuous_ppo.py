"""Proximal policy optimization over a box.

Schulman et al. 2017, with the advantages of Schulman et al. 2016. The density that an action had when it
was taken is the logged propensity, so whatever was really played counts: the noise of an exploration, an
older version of the policy. The policy's own density ends at the limits of the box, so no action has to
be clipped, and every ratio is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt

from agent_core.functional.policy_gradient import (
    clipped_surrogate,
    log_of_propensity,
    standardized,
)
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
from agent_core.networks.box import TruncatedGaussianActor
from agent_core.networks.perceptrons import StateNetwork
from agent_core.policy_learners.box import SavedParts, TruncatedGaussianPolicy, adam_of, named
from agent_core.types import ProblemSpec, Rollout, TransitionBatch


class ContinuousPpoConfig(PolicyLearnerConfig):
    """Configures `ContinuousPpoLearner`.

    `hidden`: widths of the layers of actor and critic. `discount`: in [0, 1], what a reward one step later
    is worth. `trace`: lambda of the advantages, in [0, 1]. `clip`: how far the density of an action may
    move from the logged one before its gradient stops, as a share. `epochs`: how often a rollout is gone
    through, in shuffled minibatches of about `minibatch_size`. `entropy_weight`: what a nat of entropy
    over the unit box is worth, in standard deviations of the advantage.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"box", "sequential", "on_policy", "gradient", "actor"}
    )
    kind: Literal["continuous_ppo"] = "continuous_ppo"
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (64, 64)
    discount: float = Field(default=0.99, ge=0, le=1)
    trace: float = Field(default=0.95, ge=0, le=1)
    clip: float = Field(default=0.2, gt=0, lt=1)
    epochs: int = Field(default=10, ge=1)
    minibatch_size: int = Field(default=64, ge=1)
    entropy_weight: float = Field(default=0.0, ge=0)
    learning_rate: float = Field(default=3e-4, gt=0)
    critic_learning_rate: float = Field(default=1e-3, gt=0)
    max_gradient_norm: float = Field(default=0.5, gt=0)

    def build_policy(self, spec: ProblemSpec) -> TruncatedGaussianPolicy:
        return TruncatedGaussianPolicy(spec, self.hidden)

    def build_learner(self, policy: TruncatedGaussianPolicy, spec: ProblemSpec) -> PolicyLearner:
        return ContinuousPpoLearner(policy, self, spec)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """B decisions and what was found out about them.

    `state`: `[B, S]`. `action`: `[B, D]`. `log_density`: `[B]`, under the behaviour policy. `advantage`,
    `value_target`, `weight`: `[B]`.
    """

    state: torch.Tensor
    action: torch.Tensor
    log_density: torch.Tensor
    advantage: torch.Tensor
    value_target: torch.Tensor
    weight: torch.Tensor

    def rows(self, rows: torch.Tensor) -> Judged:
        """The decisions `rows` alone."""
        return Judged(*(getattr(self, field.name)[rows] for field in fields(self)))


def advantages(
    critic: StateNetwork, rollout: Rollout, discount: float, trace: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """`[N]` advantages (Schulman et al. 2016, eq. 16) and `[N]` targets of the value of a state.

    A cut episode bootstraps from its own next state.
    """
    batch = rollout.batch
    value = critic(batch.state)
    target = one_step_target(batch.reward, batch.bootstraps, critic(batch.next_state), discount)
    advantage = generalized_advantages(target - value, rollout.offsets, discount, trace)
    return advantage, advantage + value


def surrogate_loss(
    actor: TruncatedGaussianActor, judged: Judged, clip: float, entropy_weight: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The negative of eq. 9 of Schulman et al. 2017 without its value term, and log-ratios `[B]`, detached."""
    log_ratio = actor.log_density(judged.state, judged.action) - judged.log_density
    gain = clipped_surrogate(log_ratio, judged.advantage, clip)
    gain = gain + entropy_weight * actor.entropy(judged.state)
    return -(judged.weight * gain).mean(), log_ratio.detach()


def value_loss(critic: StateNetwork, judged: Judged) -> torch.Tensor:
    """The weighted mean of half the squared errors of V(state)."""
    value: torch.Tensor = critic(judged.state)
    return 0.5 * (judged.weight * (value - judged.value_target).square()).mean()


class ContinuousPpoLearner:
    """Trains the served actor, and a critic that is not served."""

    def __init__(
        self, policy: TruncatedGaussianPolicy, config: ContinuousPpoConfig, spec: ProblemSpec
    ) -> None:
        self.policy: ServedPolicy = policy
        self._config = config
        self._actor = policy.actor
        self._critic = StateNetwork(spec, config.hidden).to(policy.actor.raw_std.device)
        norm = config.max_gradient_norm
        self._actor_step = adam_of(self._actor, config.learning_rate, norm)
        self._critic_step = adam_of(self._critic, config.critic_learning_rate, norm)
        self._saved = SavedParts(
            {"critic": self._critic}, {"actor": self._actor_step, "critic": self._critic_step}
        )

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
            for rows in self._minibatches(judged, generator)
        ]

    @torch.no_grad()
    def _judged(self, rollout: Rollout) -> Judged:
        batch, config = rollout.batch, self._config
        advantage, value_target = advantages(self._critic, rollout, config.discount, config.trace)
        return Judged(
            batch.state,
            batch.chosen_features(),
            log_of_propensity(batch.propensity),
            standardized(advantage),
            value_target,
            batch.weight,
        )

    def _minibatches(self, judged: Judged, generator: torch.Generator) -> Iterator[torch.Tensor]:
        # Nearly equal parts: a last one of a few rows would be noise at the full step.
        count = len(judged.state)
        parts = -(-count // self._config.minibatch_size)
        shuffled = torch.randperm(count, generator=generator).to(judged.state.device)
        yield from shuffled.tensor_split(parts)

    def _learn(self, judged: Judged) -> Update:
        config = self._config
        loss, log_ratio = surrogate_loss(self._actor, judged, config.clip, config.entropy_weight)
        metrics = named("actor", self._actor_step.descend(loss))
        metrics |= named("critic", self._critic_step.descend(value_loss(self._critic, judged)))
        clipped = (log_ratio.expm1().abs() > config.clip).float().mean()
        return Update(metrics | {"clipped_share": float(clipped)})

    def training_state(self) -> TrainingState:
        return self._saved.training_state()

    def load_training_state(self, state: TrainingState) -> None:
        self._saved.load_training_state(state)
