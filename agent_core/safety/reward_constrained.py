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
from agent_core.functional.segments import at_rows, segment_argmax, segment_softmax, segment_sum
from agent_core.functional.td import one_step_target
from agent_core.interfaces import (
    BoxPolicy,
    Capability,
    OnPolicyLearner,
    PolicyLearner,
    Runner,
    SafetyConfig,
    ServedPolicy,
    TrainingState,
    Update,
)
from agent_core.networks.box import BoxCritics
from agent_core.networks.perceptrons import ActionValueNetwork
from agent_core.policy_learners.actor import ActorPolicy
from agent_core.policy_learners.gradient import SKIPPED, Step
from agent_core.policy_learners.parts import Cell, LearnsInBatches, Part, adam_of, frozen_copy
from agent_core.policy_learners.weights import Weights
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
        assert isinstance(learner, LearnsInBatches), "the configuration check demands `gradient`"
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


def penalized(batch: TransitionBatch, multiplier: torch.Tensor | float) -> TransitionBatch:
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
    values = policy.values(state, actions)
    if not isinstance(policy, ActorPolicy):
        return at_rows(costs, segment_argmax(values, actions))
    probabilities = segment_softmax(values, actions)
    return segment_sum(probabilities * costs, actions)


def cost_loss(critics: CostCritics, batch: TransitionBatch, target: torch.Tensor) -> torch.Tensor:
    """Half the weighted mean squared error of both critics against `target` `[B]`, summed.

    Not Huber's: rare high costs are what a limit is about, and their mean must come out right.
    """
    errors = critics.chosen(batch) - target
    return 0.5 * (batch.weight * errors.square()).mean(1).sum()


def moved_multiplier(
    multiplier: torch.Tensor, excess: torch.Tensor, rate: float, largest: float
) -> torch.Tensor:
    """`multiplier` + `rate` * `excess`, within [0, `largest`]; Tessler et al. 2019, eq. 5.

    `excess`: by how much the expected cost is above its limit. All are scalars.
    """
    return (multiplier + rate * excess).clamp(0.0, largest)


class ConstrainedLearner(LearnsInBatches):
    """Teaches `learner` with cost in its rewards, and prices cost by what its policy then costs.

    One move of critics and multiplier for each update of the learner; an on-policy one gets them for
    batches of its rollout, 4 times over. `learn_rollout` is there for those alone.
    """

    moves_by_gradient_alone = False

    def __init__(
        self, learner: LearnsInBatches, config: RewardConstrainedConfig, spec: ProblemSpec
    ) -> None:
        self.policy: ServedPolicy = learner.policy
        self._learner = learner
        self._config = config
        device = next(iter(learner.policy.state_dict().values())).device
        critics = (
            BoxCritics(spec, config.hidden, 2) if spec.box else SetCritics(spec, config.hidden)
        )
        self._critics = critics.to(device)
        self._target = frozen_copy(self._critics)
        self._weights, self._target_weights = Weights(self._critics), Weights(self._target)
        self._step = adam_of(self._weights, config.learning_rate)
        initial = torch.tensor(config.initial_multiplier, dtype=torch.float64, device=device)
        self._multiplier = Cell(initial)
        parts: dict[str, Part] = {f"learner.{n}": part for n, part in learner.parts.items()}
        parts |= {"cost_critics": self._weights, "cost_target": self._target_weights}
        parts |= {"cost_step": self._step, "multiplier": self._multiplier}
        super().__init__(learner.served, parts)
        self.period_updates = learner.period_updates

    @property
    def multiplier(self) -> float:
        """The price of a unit of cost, now."""
        return float(self._multiplier.value)

    @property
    def updates(self) -> int:
        """Those of the learner, which counts them."""
        return self._learner.updates

    @updates.setter
    def updates(self, count: int) -> None:
        self._learner.updates = count

    @property
    def can_be_compiled(self) -> bool:
        """Not where the policy, whose cost is learned, is changed by something besides updates."""
        return self._learner.served is not None

    def observe(self, new: TransitionBatch) -> None:
        self._learner.observe(penalized(new, self._multiplier.value))

    def update(self, batch: TransitionBatch) -> Update:
        metrics, errors = self._learner.update(penalized(batch, self._multiplier.value))
        taken = Step(metrics, 1 - metrics[SKIPPED])
        return Update(metrics | self._price(batch, taken), errors)

    def refresh(self, everything: Iterable[TransitionBatch]) -> None:
        multiplier = self._multiplier.value
        self._learner.refresh(penalized(batch, multiplier) for batch in everything)

    def learn_rollout(
        self, rollout: Rollout, generator: torch.Generator, run: Runner
    ) -> list[Update]:
        learner, batch = cast("OnPolicyLearner", self._learner), rollout.batch
        priced = replace(rollout, batch=penalized(batch, self._multiplier.value))
        updates = learner.learn_rollout(priced, generator, run)
        if any(bool(update.metrics[SKIPPED]) for update in updates):
            return updates
        rows, parts = len(batch.reward), max(1, len(batch.reward) // _BATCH_ROWS)
        costs: list[Update] = []
        for _ in range(_PASSES):
            order = torch.randperm(rows, generator=generator)[: parts * _BATCH_ROWS]
            costs += run(self.learn_cost, _rows_of(batch, order.to(batch.reward.device)), parts)
        return [Update(metrics | costs[-1].metrics, errors) for metrics, errors in updates]

    def learn_cost(self, batch: TransitionBatch) -> Update:
        """Moves critics and multiplier alone."""
        return Update(self._price(batch, None))

    def training_state(self) -> TrainingState:
        return super().training_state() | under("learner", self._learner.training_state())

    def load_training_state(self, state: TrainingState) -> None:
        super().load_training_state(state)
        self._learner.load_training_state(below("learner", state))

    def _price(self, batch: TransitionBatch, after: Step | None) -> dict[str, torch.Tensor]:
        config, multiplier = self._config, self._multiplier.value
        with torch.no_grad():
            following = expected_cost(
                self.policy, self._target, batch.next_state, batch.next_actions
            )
            target = one_step_target(batch.cost, batch.bootstraps, following, config.discount)
        step = self._step.descend(cost_loss(self._critics, batch, target), after)
        self._target_weights.move_towards(self._weights, config.target_mix, step.moved)
        with torch.no_grad():
            now = expected_cost(self.policy, self._target, batch.state, batch.actions)
            cost = (batch.weight * now).sum() / batch.weight.sum()
            excess = cost - config.cost_limit
            moved = moved_multiplier(
                multiplier, excess, config.multiplier_rate, config.max_multiplier
            )
            multiplier.copy_(torch.where(step.moved.bool(), moved, multiplier))
        cost_loss_now, refused = step.metrics["loss"], step.metrics[SKIPPED]
        found = {"expected_cost": cost, "cost_multiplier": moved, "cost_loss": cost_loss_now}
        return found | {SKIPPED: refused}


_PASSES, _BATCH_ROWS = 4, 64


def _rows_of(batch: TransitionBatch, rows: torch.Tensor) -> TransitionBatch:
    """The rows `rows` `[M]` of a batch, in that order."""

    def of(value: Any) -> Any:
        if isinstance(value, RaggedActions):
            return select_sets(value, rows)
        return value.index_select(0, rows)

    return TransitionBatch(**{f.name: of(getattr(batch, f.name)) for f in fields(batch)})
