"""Holds the expected cost of a policy to a limit, by a price on cost that learning finds.

Tessler et al. 2019, "Reward Constrained Policy Optimization" (RCPO). The learner sees rewards minus
multiplier * cost (definition 3); the multiplier rises while the policy costs more than the limit and falls
while it costs less (eq. 5). The paper samples what the policy costs by playing it. Here two critics of the
discounted cost estimate it from replayed data, and the dearer counts: an error makes the policy more
careful, not less.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self, cast

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import nn

from agent_core.functional.flat_state import below, under
from agent_core.functional.ragged import select_sets
from agent_core.functional.segment_choice import at_rows, segment_argmax
from agent_core.functional.segments import segment_softmax, segment_sum
from agent_core.functional.td import one_step_target
from agent_core.interfaces import (
    BoxPolicy,
    Capability,
    OnPolicyLearner,
    PolicyLearner,
    SafetyConfig,
    ServedPolicy,
    TrainingState,
    Update,
)
from agent_core.networks.box import BoxCritics
from agent_core.networks.perceptrons import ActionValueNetwork
from agent_core.policy_learners.actor import ActorPolicy
from agent_core.policy_learners.parts import adam_of, frozen_copy, move_towards
from agent_core.types import ProblemSpec, RaggedActions, Rollout, TransitionBatch


class RewardConstrainedConfig(SafetyConfig):
    """Configures `ConstrainedLearner`.

    `cost_limit`: the largest expected discounted sum of costs from a decision on, in units of cost, on
    average over the states that are learned from: of a replay, also those that nobody enters any more, until
    they are forgotten. `discount`: in [0, 1], what a cost one step later counts;
    the learner's own. `multiplier_rate`: how far the multiplier moves at each update, for each unit of cost
    beyond the limit. The multiplier is in units of reward for each unit of cost, starts at
    `initial_multiplier` and stays in [0, `max_multiplier`]. The rest is about the critics: `hidden`, widths
    of their layers; `learning_rate`; `target_mix`, in (0, 1], how far their target moves at each update.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"gradient"})
    kind: Literal["reward_constrained"] = "reward_constrained"
    cost_limit: float
    discount: float = Field(default=0.99, ge=0, le=1)
    multiplier_rate: float = Field(default=1e-3, gt=0)
    initial_multiplier: float = Field(default=0.0, ge=0)
    max_multiplier: float = Field(default=100.0, gt=0, le=1e6)
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (64, 64)
    learning_rate: float = Field(default=1e-3, gt=0)
    target_mix: float = Field(default=0.01, gt=0, le=1)

    @model_validator(mode="after")
    def _multiplier_starts_in_its_range(self) -> Self:
        if self.initial_multiplier > self.max_multiplier:
            raise ValueError("`initial_multiplier` is above `max_multiplier`; lower it")
        return self

    @property
    def is_learned(self) -> bool:
        return True

    def constrain(self, learner: PolicyLearner, spec: ProblemSpec) -> PolicyLearner:
        """Draws the critics' weights from torch's global RNG; the caller seeds it."""
        return ConstrainedLearner(learner, self, spec)


class CostCritics(Protocol):
    """Two independent opinions about costs."""

    def __call__(self, state: torch.Tensor, actions: Any) -> torch.Tensor:
        """`[2, N]` for a set of actions in each `state` `[B, S]`; `[2, B]` for actions `[B, D]` in a box."""
        ...

    def chosen(self, batch: TransitionBatch) -> torch.Tensor:
        """`[2, B]` of the actions that were taken."""
        ...


class SetCritics(nn.Module):
    """`CostCritics` over action sets."""

    def __init__(self, spec: ProblemSpec, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(ActionValueNetwork(spec, hidden) for _ in range(2))

    def forward(self, state: torch.Tensor, actions: RaggedActions) -> torch.Tensor:
        return torch.stack([network(state, actions) for network in self.networks])

    def chosen(self, batch: TransitionBatch) -> torch.Tensor:
        features = batch.chosen_features()
        networks = cast("Iterable[ActionValueNetwork]", self.networks)
        return torch.stack([network.pairs(batch.state, features) for network in networks])


def penalized(batch: TransitionBatch, multiplier: float) -> TransitionBatch:
    """The same batch with rewards minus `multiplier` * cost; Tessler et al. 2019, definition 3."""
    return batch.with_reward(batch.reward - multiplier * batch.cost)


def expected_cost(
    policy: ServedPolicy, critics: CostCritics, state: torch.Tensor, actions: RaggedActions
) -> torch.Tensor:
    """`[B]`: what the policy's own decision in `state` `[B, S]` will cost, by the dearer critic.

    Over sets the decision is drawn from the softmax of an actor's values, and the best of other values; the
    cost of an empty set is 0. In a box it is the mean, and `actions` are not looked at.
    """
    if isinstance(policy, BoxPolicy):
        return critics(state, policy.means(state)).amax(0)
    costs = critics(state, actions).amax(0)
    values, segments = policy.values(state, actions), actions.segments()
    if not isinstance(policy, ActorPolicy):
        return at_rows(costs, segment_argmax(values, segments, len(state)))
    probabilities = segment_softmax(values, segments, len(state))
    return segment_sum(probabilities * costs, segments, len(state))


def cost_loss(critics: CostCritics, batch: TransitionBatch, target: torch.Tensor) -> torch.Tensor:
    """Half the weighted mean squared error of both critics against `target` `[B]`, summed.

    Not Huber's: rare high costs are what a limit is about, and their mean must come out right.
    """
    errors = critics.chosen(batch) - target
    return 0.5 * (batch.weight * errors.square()).mean(1).sum()


def moved_multiplier(multiplier: float, excess: float, rate: float, largest: float) -> float:
    """`multiplier` + `rate` * `excess`, within [0, `largest`]; Tessler et al. 2019, eq. 5.

    `excess`: by how much the expected cost is above its limit.
    """
    return min(max(multiplier + rate * excess, 0.0), largest)


class ConstrainedLearner:
    """Teaches `learner` with cost in its rewards, and prices cost by what its policy then costs.

    One move of critics and multiplier for each update of the learner; an on-policy one gets them for
    batches of its rollout, 4 times over. `learn_rollout` is there for those alone.
    """

    def __init__(
        self, learner: PolicyLearner, config: RewardConstrainedConfig, spec: ProblemSpec
    ) -> None:
        self.policy: ServedPolicy = learner.policy
        self.multiplier = config.initial_multiplier
        self._learner = learner
        self._config = config
        device = next(iter(learner.policy.state_dict().values())).device
        critics = (
            BoxCritics(spec, config.hidden, 2) if spec.box else SetCritics(spec, config.hidden)
        )
        self._critics = critics.to(device)
        self._target = frozen_copy(self._critics)
        self._step = adam_of(self._critics, config.learning_rate, _MAX_GRADIENT_NORM)

    def observe(self, new: TransitionBatch) -> None:
        self._learner.observe(penalized(new, self.multiplier))

    def update(self, batch: TransitionBatch) -> Update:
        metrics, errors = self._learner.update(penalized(batch, self.multiplier))
        if "skipped_non_finite" in metrics:
            return Update(metrics, errors)
        return Update(metrics | self._learn_cost(batch), errors)

    def refresh(self, everything: Iterable[TransitionBatch]) -> None:
        self._learner.refresh(penalized(batch, self.multiplier) for batch in everything)

    def learn_rollout(self, rollout: Rollout, generator: torch.Generator) -> list[Update]:
        learner, batch = cast("OnPolicyLearner", self._learner), rollout.batch
        updates = learner.learn_rollout(
            replace(rollout, batch=penalized(batch, self.multiplier)), generator
        )
        if any("skipped_non_finite" in update.metrics for update in updates):
            return updates
        priced: dict[str, float] = {}
        for _ in range(_PASSES):
            order = torch.randperm(len(batch.reward), generator=generator)
            for rows in order.to(batch.reward.device).split(_BATCH_ROWS):
                priced = self._learn_cost(_rows_of(batch, rows))
        return [Update(metrics | priced, errors) for metrics, errors in updates]

    def training_state(self) -> TrainingState:
        state = under("learner", self._learner.training_state())
        state |= under("cost_critics", self._critics.state_dict())
        state |= under("cost_target", self._target.state_dict())
        state |= under("cost_step", self._step.training_state())
        return state | {"multiplier": torch.tensor(self.multiplier, dtype=torch.float64)}

    def load_training_state(self, state: TrainingState) -> None:
        self._learner.load_training_state(below("learner", state))
        self._critics.load_state_dict(below("cost_critics", state))
        self._target.load_state_dict(below("cost_target", state))
        self._step.load_training_state(below("cost_step", state))
        self.multiplier = float(state["multiplier"])

    def _learn_cost(self, batch: TransitionBatch) -> dict[str, float]:
        config = self._config
        with torch.no_grad():
            following = expected_cost(
                self.policy, self._target, batch.next_state, batch.next_actions
            )
            target = one_step_target(batch.cost, batch.bootstraps, following, config.discount)
        metrics = self._step.descend(cost_loss(self._critics, batch, target))
        if "skipped_non_finite" in metrics:
            return metrics
        move_towards(self._target, self._critics, config.target_mix)
        with torch.no_grad():
            now = expected_cost(self.policy, self._target, batch.state, batch.actions)
        cost = float((batch.weight * now).sum() / batch.weight.sum())
        self.multiplier = moved_multiplier(
            self.multiplier, cost - config.cost_limit, config.multiplier_rate, config.max_multiplier
        )
        return {
            "expected_cost": cost,
            "cost_multiplier": self.multiplier,
            "cost_loss": metrics["loss"],
        }


_MAX_GRADIENT_NORM = 10.0
_PASSES, _BATCH_ROWS = 4, 64


def _rows_of(batch: TransitionBatch, rows: torch.Tensor) -> TransitionBatch:
    """The rows `rows` `[M]` of a batch, in that order."""

    def of(value: Any) -> Any:
        if isinstance(value, RaggedActions):
            return select_sets(value, rows)
        return value.index_select(0, rows)

    return TransitionBatch(**{f.name: of(getattr(batch, f.name)) for f in fields(batch)})
