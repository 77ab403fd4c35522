"""Bayesian linear regression of the reward on state and action, in closed form.

Li et al. 2010 (LinUCB, hybrid features) and Agrawal & Goyal 2013 (linear Thompson sampling) share this
posterior; which of the two it becomes is up to the exploration module.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from agent_core.functional import bayes
from agent_core.interfaces import (
    Capability,
    Policy,
    PolicyLearner,
    PolicyLearnerConfig,
    Scorer,
    TrainingState,
)
from agent_core.types import (
    ActionScores,
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

    capabilities: ClassVar[frozenset[Capability]] = frozenset({"spread", "bandit"})
    kind: Literal["linear"] = "linear"
    interactions: bool = True
    ridge: float = Field(default=1.0, gt=0)
    forgetting: float = Field(default=1.0, gt=0, le=1)

    def build_policy(self, spec: ProblemSpec) -> LinearPolicy:
        return LinearPolicy(spec, self.interactions, self.ridge)

    def build_learner(self, policy: Policy) -> PolicyLearner:
        assert isinstance(policy, LinearPolicy)
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
        repeated = state.index_select(0, actions.segments())
        return (self.features(repeated, actions.features) @ self.mean).float()

    def scorer(self) -> Scorer:
        mean = self.mean.cpu().numpy().astype(np.float32)
        factor = self.factor.cpu().numpy().astype(np.float32)
        # Mean and factor side by side: one product gives the value and the spread.
        weights = np.column_stack([mean, factor])
        if self.interactions:
            return _InteractionScorer(weights.reshape(*self._shape, -1))
        return _AdditiveScorer(weights, self._shape[0])


class LinearLearner:
    """Updates the posterior by one rank-one step per transition; there is nothing to replay."""

    def __init__(self, policy: LinearPolicy, forgetting: float) -> None:
        self.policy: Policy = policy
        self._linear = policy
        self._forgetting = forgetting

    def observe(self, new: TransitionBatch) -> None:
        policy = self._linear
        features = policy.features(new.state, new.chosen_features())
        for x, reward in zip(features, new.reward.double(), strict=True):
            bayes.condition_(policy.mean, policy.factor, x, reward, self._forgetting)

    def update(self, batch: TransitionBatch) -> dict[str, float]:
        del batch  # `observe` has already counted these
        return {}

    def refresh(self, everything: Iterable[TransitionBatch]) -> None:
        """Does nothing: the features never move."""

    def training_state(self) -> TrainingState:
        return {}

    def load_training_state(self, state: TrainingState) -> None:
        del state  # the posterior is in the policy


class _InteractionScorer:
    """`weights`: `[S + 1, D + 1, 1 + d]`, the mean and the factor per pair of a state and an action entry.

    Contracting the state first costs d^2 + A D d multiplications instead of A d^2.
    """

    def __init__(self, weights: Floats) -> None:
        self._constant = weights[0].reshape(-1)
        self._by_state = weights[1:].reshape(len(weights) - 1, self._constant.size)
        self._rows = weights.shape[1]

    def prepare(self, actions: Floats) -> Floats:
        """`[A, D + 1]`: (1, action)."""
        return _with_one(actions)

    def score(self, state: Floats, prepared: Floats) -> ActionScores:
        per_action = (self._constant + state.dot(self._by_state)).reshape(self._rows, -1)
        return _split(prepared.dot(per_action))


class _AdditiveScorer:
    """`weights`: `[1 + S + D, 1 + d]`; the action half is prepared, the state half is one row."""

    def __init__(self, weights: Floats, state_rows: int) -> None:
        self._constant = weights[0]
        self._by_state = weights[1:state_rows]
        self._by_action = weights[state_rows:]

    def prepare(self, actions: Floats) -> Floats:
        """`[A, 1 + d]`: what the action adds to the value and the spread, and the constant."""
        prepared: Floats = actions.dot(self._by_action) + self._constant
        return prepared

    def score(self, state: Floats, prepared: Floats) -> ActionScores:
        return _split(prepared + state.dot(self._by_state))


def _with_one(rows: Floats) -> Floats:
    return np.column_stack([np.ones(len(rows), np.float32), rows])


def _split(table: Floats) -> ActionScores:
    wide = table.astype(np.float64)
    return ActionScores(value=wide[:, 0], spread=wide[:, 1:])
