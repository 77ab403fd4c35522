"""REINFORCE over action sets: actions are made likelier by what followed them.

Williams 1992, with the discounted reward-to-go of each step and one gradient step for each rollout. Like
the usual form, and unlike the exact gradient of the discounted return, later steps count as much as
earlier ones. It takes the actions to be the policy's own: where an older version is still played, use ppo.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt

from agent_core.functional.returns import returns_to_go
from agent_core.interfaces import (
    Capability,
    PolicyLearner,
    PolicyLearnerConfig,
    Runner,
    ServedPolicy,
    Update,
)
from agent_core.networks.perceptrons import ActionValueNetwork, StateNetwork
from agent_core.policy_learners.actor import ActorPolicy, chosen_log_probability
from agent_core.policy_learners.gradient import MaxGradientNorm, Step
from agent_core.policy_learners.parts import LearnsInBatches, Part, adam_of, named
from agent_core.policy_learners.weights import Weights
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
    max_gradient_norm: MaxGradientNorm = None

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
    return -(batch.weight * advantage * chosen_log_probability(actor, batch)).mean()


class Baseline:
    """What a state is worth, learned from the returns that followed it."""

    def __init__(self, config: ReinforceConfig, spec: ProblemSpec, policy: ActorPolicy) -> None:
        self.network = StateNetwork(spec, config.hidden).to(policy.network.out.weight.device)
        self.weights = Weights(self.network)
        norm, decay = config.max_gradient_norm, config.weight_decay
        self.step = adam_of(self.weights, config.baseline_learning_rate, norm, decay)

    def descend(self, batch: TransitionBatch, returns: torch.Tensor, after: Step) -> Step:
        """One step on the squared errors against `returns` `[B]`."""
        errors = self.network(batch.state) - returns
        return self.step.descend(0.5 * (batch.weight * errors.square()).mean(), after)


class ReinforceLearner(LearnsInBatches):
    """Trains the served actor, and the baseline if there is one."""

    def __init__(
        self, policy: ActorPolicy, config: ReinforceConfig, baseline: Baseline | None
    ) -> None:
        self.policy: ServedPolicy = policy
        self._discount = config.discount
        self._actor = policy.network
        self._baseline = baseline
        norm, decay = config.max_gradient_norm, config.weight_decay
        weights = Weights(self._actor)
        self._step = adam_of(weights, config.learning_rate, norm, decay)
        parts: dict[str, Part] = {"step": self._step}
        if baseline is not None:
            parts |= {"baseline": baseline.weights, "baseline_step": baseline.step}
        super().__init__(weights, parts)

    def update(self, batch: TransitionBatch) -> Update:
        del batch  # `learn_rollout` does all learning
        return Update({})

    def learn_rollout(
        self, rollout: Rollout, generator: torch.Generator, run: Runner
    ) -> list[Update]:
        """One step on everything."""
        del generator, run  # nothing is drawn, and there is one batch
        batch = rollout.batch
        returns, advantage = self._returns(rollout)
        step = self._step.descend(reinforce_loss(self._actor, batch, advantage))
        metrics = step.metrics | {"mean_return": returns[rollout.offsets[:-1]].mean()}
        if self._baseline is not None:
            metrics |= named("baseline", self._baseline.descend(batch, returns, step))
        self.updates += 1
        return [Update(metrics)]

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
