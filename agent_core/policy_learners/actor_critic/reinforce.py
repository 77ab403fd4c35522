"""REINFORCE over action sets: actions are made likelier by what followed them.

Williams 1992, with the discounted reward-to-go of each step and one gradient step for each rollout. Like
the usual form, and unlike the exact gradient of the discounted return, later steps count as much as
earlier ones. It takes the actions to be the policy's own: where an older version is still played, use ppo.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt

from agent_core.functional.flat_state import below, under
from agent_core.functional.returns import returns_to_go
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
from agent_core.types import ProblemSpec, Rollout, TransitionBatch


class ReinforceConfig(PolicyLearnerConfig):
    """Configures `ReinforceLearner`.

    `hidden`: widths of the layers. `discount`: in [0, 1], what a reward one step later is worth.
    `has_baseline`: whether a learned value of the state is subtracted from the returns. Without one, what
    follows an episode that was cut counts nothing.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"sequential", "sets", "on_policy", "gradient", "actor"}
    )
    kind: Literal["reinforce"] = "reinforce"
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (64, 64)
    discount: float = Field(default=0.99, ge=0, le=1)
    has_baseline: bool = True
    learning_rate: float = Field(default=1e-3, gt=0)
    baseline_learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_gradient_norm: float = Field(default=10.0, gt=0)

    def build_policy(self, spec: ProblemSpec) -> ActorPolicy:
        return ActorPolicy(spec, self.hidden)

    def build_learner(self, policy: ActorPolicy, spec: ProblemSpec) -> PolicyLearner:
        baseline = Baseline(self, spec, policy) if self.has_baseline else None
        return ReinforceLearner(policy, self, baseline)


def reinforce_loss(
    actor: ActionValueNetwork, batch: TransitionBatch, advantage: torch.Tensor
) -> torch.Tensor:
    """The weighted mean of -advantage * log pi(action | state): its negative gradient is Williams 1992,
    eq. 4, averaged. `advantage`: `[B]`, the return minus the baseline."""
    log_p = log_policy(actor, batch.state, batch.actions)[batch.chosen_rows()]
    return -(batch.weight * advantage * log_p).mean()


class Baseline:
    """What a state is worth, learned from the returns that followed it."""

    def __init__(self, config: ReinforceConfig, spec: ProblemSpec, policy: ActorPolicy) -> None:
        self.network = StateNetwork(spec, config.hidden).to(policy.network.out.weight.device)
        self.step = _step(self.network, config, config.baseline_learning_rate)

    def descend(self, batch: TransitionBatch, returns: torch.Tensor) -> dict[str, float]:
        """One step on the squared errors against `returns` `[B]`."""
        errors = self.network(batch.state) - returns
        return self.step.descend(0.5 * (batch.weight * errors.square()).mean())


class ReinforceLearner:
    """Trains the served actor, and the baseline if there is one."""

    def __init__(
        self, policy: ActorPolicy, config: ReinforceConfig, baseline: Baseline | None
    ) -> None:
        self.policy: ServedPolicy = policy
        self._discount = config.discount
        self._actor = policy.network
        self._baseline = baseline
        self._step = _step(self._actor, config, config.learning_rate)

    def observe(self, new: TransitionBatch) -> None:
        """Does nothing: it learns from whole episodes."""

    def update(self, batch: TransitionBatch) -> Update:
        del batch  # `learn_rollout` does all learning
        return Update({})

    def refresh(self, everything: Iterable[TransitionBatch]) -> None:
        """Does nothing: no statistics go stale."""

    def learn_rollout(self, rollout: Rollout, generator: torch.Generator) -> list[Update]:
        """One step on everything."""
        del generator  # nothing is drawn
        batch = rollout.batch
        returns, advantage = self._returns(rollout)
        metrics = self._step.descend(reinforce_loss(self._actor, batch, advantage))
        if "skipped_non_finite" in metrics:
            return [Update(metrics)]
        metrics |= {"mean_return": float(returns[rollout.offsets[:-1]].mean())}
        if self._baseline is not None:
            baseline = self._baseline.descend(batch, returns)
            metrics |= {f"baseline_{name}": value for name, value in baseline.items()}
        return [Update(metrics)]

    def training_state(self) -> TrainingState:
        state = under("step", self._step.training_state())
        if self._baseline is not None:
            state |= under("baseline", self._baseline.network.state_dict())
            state |= under("baseline_step", self._baseline.step.training_state())
        return state

    def load_training_state(self, state: TrainingState) -> None:
        self._step.load_training_state(below("step", state))
        if self._baseline is not None:
            self._baseline.network.load_state_dict(below("baseline", state))
            self._baseline.step.load_training_state(below("baseline_step", state))

    @torch.no_grad()
    def _returns(self, rollout: Rollout) -> tuple[torch.Tensor, torch.Tensor]:
        """`[N]` returns and `[N]` advantages."""
        batch, offsets = rollout.batch, rollout.offsets
        nothing = torch.zeros_like(batch.reward)
        if self._baseline is None:
            next_value, value = nothing, nothing
        else:
            next_value = self._baseline.network(batch.next_state)
            value = self._baseline.network(batch.state)
        returns = returns_to_go(batch.reward, batch.bootstraps, next_value, offsets, self._discount)
        return returns, returns - value


def _step(network: torch.nn.Module, config: ReinforceConfig, learning_rate: float) -> GradientStep:
    return GradientStep(
        dict(network.named_parameters()),
        learning_rate=learning_rate,
        weight_decay=config.weight_decay,
        max_norm=config.max_gradient_norm,
    )
