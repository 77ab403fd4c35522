"""Bayesian linear regression of the reward on state and action, in closed form.

Li et al. 2010, section 3.2 (LinUCB, features that actions share) and Agrawal & Goyal 2013 (linear Thompson sampling) share this
posterior; which of the two it becomes is up to the exploration module.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from agent_core.functional import bayes
from agent_core.functional.segments import spread
from agent_core.interfaces import (
    Capability,
    Policy,
    PolicyLearner,
    PolicyLearnerConfig,
    Scorer,
    ServedPolicy,
    TrainingState,
    Update,
)
from agent_core.types import (
    ActionScores,
    Doubles,
    Floats,
    ProblemSpec,
    RaggedActions,
    TransitionBatch,
)


class LinearConfig(PolicyLearnerConfig):
    """Configures `LinearLearner`.

    `interactions`: True regresses on the outer product of [1, state] and [1, action], so the best
    action may depend on the state; False on [1, state, action], which ranks actions alike in every
    state but has only S + D + 1 weights. `ridge`: precision of the prior of each weight.
    `forgetting`: in (0, 1], the weight that older evidence keeps when new evidence comes.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"spread", "bandit", "sets", "observes"}
    )
    kind: Literal["linear"] = "linear"
    interactions: bool = True
    ridge: float = Field(default=1.0, gt=0)
    forgetting: float = Field(default=1.0, gt=0, le=1)

    def build_policy(self, spec: ProblemSpec) -> LinearPolicy:
        return LinearPolicy(spec, self.interactions, self.ridge)

    def build_learner(self, policy: LinearPolicy, spec: ProblemSpec) -> PolicyLearner:
        del spec
        return LinearLearner(policy, self.forgetting)


class LinearPolicy(Policy):
    """Values actions by the posterior mean. `mean`: `[d]`, `factor`: `[d, d]`, both float64."""

    mean: torch.Tensor
    factor: torch.Tensor

    def __init__(self, spec: ProblemSpec, interactions: bool, ridge: float) -> None:
        super().__init__()
        self.interactions = interactions
        self._shape = (spec.state_dim + 1, spec.action_dim + 1)
        dim = self._shape[0] * self._shape[1] if interactions else sum(self._shape) - 1
        self.register_buffer("mean", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("factor", bayes.prior_factor(dim, ridge))

    def features(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """`[N, d]` float64 joint features of `state` `[N, S]` and `action` `[N, D]`, row by row."""
        one = torch.ones(len(action), 1, dtype=torch.float64, device=action.device)
        if not self.interactions:
            return torch.cat([one, state, action], dim=1)
        left, right = torch.cat([one, state], dim=1), torch.cat([one, action], dim=1)
        return (left.unsqueeze(2) * right.unsqueeze(1)).flatten(1)

    def values(self, state: torch.Tensor, actions: RaggedActions) -> torch.Tensor:
        repeated = spread(state, actions)
        return (self.features(repeated, actions.features) @ self.mean).float()

    def scorer(self) -> Scorer:
        mean = self.mean.cpu().numpy().astype(np.float32)
        factor = self.factor.cpu().numpy().astype(np.float32)
        if self.interactions:
            return _InteractionScorer(mean.reshape(self._shape), factor.reshape(*self._shape, -1))
        return _AdditiveScorer(mean, factor, self._shape[0])


class LinearLearner:
    """Updates the posterior by one rank-one step per transition; there is nothing to replay."""

    def __init__(self, policy: LinearPolicy, forgetting: float) -> None:
        self.policy: ServedPolicy = policy
        self._linear = policy
        self._forgetting = forgetting

    def observe(self, new: TransitionBatch) -> None:
        policy = self._linear
        features = policy.features(new.state, new.chosen_features())
        for x, reward in zip(features, new.reward.double(), strict=True):
            bayes.condition_(policy.mean, policy.factor, x, reward, self._forgetting)

    def update(self, batch: TransitionBatch) -> Update:
        del batch  # `observe` has already counted these
        return Update({})

    def refresh(self, everything: Iterable[TransitionBatch]) -> None:
        """Does nothing: the features never move."""

    def training_state(self) -> TrainingState:
        return {}

    def load_training_state(self, state: TrainingState) -> None:
        del state  # the posterior is in the policy


class _InteractionScorer:
    """`mean`: `[S + 1, D + 1]`, `factor`: `[S + 1, D + 1, d]`, per pair of a state and an action entry.

    Contracting the state first costs d^2 + A D d multiplications instead of A d^2.
    """

    def __init__(self, mean: Floats, factor: Floats) -> None:
        self._mean, self._mean_by_state = mean[0], mean[1:]
        self._factor = factor[0].reshape(-1)
        self._factor_by_state = factor[1:].reshape(len(factor) - 1, self._factor.size)

    def prepare(self, actions: Floats) -> Floats:
        """`[A, D + 1]`: (1, action)."""
        return np.column_stack([np.ones(len(actions), np.float32), actions])

    def value(self, state: Floats, prepared: Floats) -> Doubles:
        per_action = self._mean + state.dot(self._mean_by_state)
        value: Floats = prepared.dot(per_action)
        return value.astype(np.float64)

    def score(self, state: Floats, prepared: Floats) -> ActionScores:
        per_action = self._factor + state.dot(self._factor_by_state)
        spread = prepared.dot(per_action.reshape(self._mean.size, -1))
        return ActionScores(self.value(state, prepared), spread.astype(np.float64))


class _AdditiveScorer:
    """`mean`: `[1 + S + D]`, `factor`: `[1 + S + D, d]`; the state half is one row for all actions."""

    def __init__(self, mean: Floats, factor: Floats, state_rows: int) -> None:
        weights = np.column_stack([mean, factor])
        self._constant, self._by_action = weights[0], weights[state_rows:]
        self._mean_by_state, self._factor_by_state = mean[1:state_rows], factor[1:state_rows]

    def prepare(self, actions: Floats) -> Floats:
        """`[A, 1 + d]`: what the action adds to the value and the spread, and the constant."""
        prepared: Floats = actions.dot(self._by_action) + self._constant
        return prepared

    def value(self, state: Floats, prepared: Floats) -> Doubles:
        value: Floats = prepared[:, 0] + state.dot(self._mean_by_state)
        return value.astype(np.float64)

    def score(self, state: Floats, prepared: Floats) -> ActionScores:
        spread = prepared[:, 1:] + state.dot(self._factor_by_state)
        return ActionScores(self.value(state, prepared), spread.astype(np.float64))
