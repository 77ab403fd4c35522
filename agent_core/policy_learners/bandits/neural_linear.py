"""A network that learns the features, and Bayesian linear regression on top of them.

Riquelme et al. 2018 (Neural Linear). Two differences: the features that are served stand still between
two refreshes while a second copy trains, so that the posterior is exact for what is served and each
observation counts once; and a refresh rebuilds it from the whole replay, because statistics of features
that have moved are worth nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt

from agent_core.functional import bayes
from agent_core.interfaces import (
    Capability,
    Policy,
    PolicyLearner,
    PolicyLearnerConfig,
    Scorer,
    ServedPolicy,
    Update,
)
from agent_core.networks.perceptrons import ActionValueNetwork, JointFeatures, NumpyFeatures
from agent_core.policy_learners.gradient import MaxGradientNorm
from agent_core.policy_learners.parts import LearnsInBatches, adam_of
from agent_core.policy_learners.weights import Weights
from agent_core.types import (
    ActionScores,
    Doubles,
    Floats,
    ProblemSpec,
    RaggedActions,
    TransitionBatch,
)


class NeuralLinearConfig(PolicyLearnerConfig):
    """Configures `NeuralLinearLearner`.

    `hidden`: widths of the layers; the last is the number of features. `ridge`: precision of the prior
    of each weight on them. `refresh_period_updates`: how many updates the served features stand still.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"spread", "bandit", "sets", "observes", "replay", "gradient", "td_error"}
    )
    kind: Literal["neural_linear"] = "neural_linear"
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (64, 64)
    ridge: float = Field(default=1.0, gt=0)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    max_gradient_norm: MaxGradientNorm = None
    refresh_period_updates: int = Field(default=100, ge=1)

    @property
    def refresh_period(self) -> int:
        return self.refresh_period_updates

    def build_policy(self, spec: ProblemSpec) -> NeuralLinearPolicy:
        return NeuralLinearPolicy(spec, self.hidden, self.ridge)

    def build_learner(self, policy: NeuralLinearPolicy, spec: ProblemSpec) -> PolicyLearner:
        return NeuralLinearLearner(policy, self, spec)


class NeuralLinearPolicy(Policy):
    """Values actions by the posterior mean of a linear head on the last hidden layer and a constant.

    `mean`: `[H + 1]`, `factor`: `[H + 1, H + 1]`, both float64.
    """

    mean: torch.Tensor
    factor: torch.Tensor

    def __init__(self, spec: ProblemSpec, hidden: tuple[int, ...], ridge: float) -> None:
        super().__init__()
        self.body = JointFeatures(spec, hidden)
        self.body.requires_grad_(False)
        self.register_buffer("mean", torch.zeros(hidden[-1] + 1, dtype=torch.float64))
        self.register_buffer("factor", bayes.prior_factor(hidden[-1] + 1, ridge))

    def chosen_features(self, batch: TransitionBatch) -> torch.Tensor:
        """`[B, H + 1]` float64: the last hidden layer and the constant 1 of the chosen actions."""
        return _with_constant(self.body.pairs(batch.state, batch.chosen_features()))

    def values(self, state: torch.Tensor, actions: RaggedActions) -> torch.Tensor:
        return (_with_constant(self.body(state, actions)) @ self.mean).float()

    def scorer(self) -> Scorer:
        return _NeuralLinearScorer(self)


class NeuralLinearLearner(LearnsInBatches):
    """Trains a copy of the served features by squared loss; the head is closed form.

    Of the state that `training_state` holds, `network` is the copy in training and its output layer.
    """

    def __init__(
        self, policy: NeuralLinearPolicy, config: NeuralLinearConfig, spec: ProblemSpec
    ) -> None:
        self.policy: ServedPolicy = policy
        self._served = policy
        self._ridge = config.ridge
        self._network = ActionValueNetwork(spec, config.hidden).to(policy.mean.device)
        self._network.features.load_state_dict(policy.body.state_dict())
        rate, decay = config.learning_rate, config.weight_decay
        weights = Weights(self._network)
        self._step = adam_of(weights, rate, config.max_gradient_norm, decay)
        super().__init__(None, {"network": weights, "step": self._step})

    def observe(self, new: TransitionBatch) -> None:
        served = self._served
        features = served.chosen_features(new)
        for x, reward in zip(features, new.reward.double(), strict=True):
            bayes.condition_(served.mean, served.factor, x, reward)

    def update(self, batch: TransitionBatch) -> Update:
        predicted = self._network.pairs(batch.state, batch.chosen_features())
        errors = (predicted - batch.reward).square()
        step = self._step.descend((batch.weight * errors).mean())
        self.updates += 1
        return Update(step.metrics, errors.detach().sqrt())

    def refresh(self, everything: Iterable[TransitionBatch]) -> None:
        """Serves the trained features, with the posterior of everything under them."""
        served = self._served
        served.body.load_state_dict(self._network.features.state_dict())
        precision = self._ridge * torch.eye(
            len(served.mean), dtype=torch.float64, device=served.mean.device
        )
        moment = torch.zeros_like(served.mean)
        for batch in everything:
            features = served.chosen_features(batch)
            precision, moment = bayes.accumulate(precision, moment, features, batch.reward.double())
        mean, factor = bayes.ridge_solution(precision, moment)
        served.mean.copy_(mean)
        served.factor.copy_(factor)


class _NeuralLinearScorer:
    def __init__(self, policy: NeuralLinearPolicy) -> None:
        self._hidden = NumpyFeatures(policy.body)
        self._mean = policy.mean.cpu().numpy().astype(np.float32)
        self._factor = policy.factor.cpu().numpy().astype(np.float32)

    def prepare(self, actions: Floats) -> Floats:
        """`[A, H + 1]`: the action half of the first layer."""
        return self._hidden.prepare(actions)

    def value(self, state: Floats, prepared: Floats) -> Doubles:
        value: Floats = self._hidden.features(state, prepared).dot(self._mean)
        return value.astype(np.float64)

    def score(self, state: Floats, prepared: Floats) -> ActionScores:
        features = self._hidden.features(state, prepared)
        value, spread = features.dot(self._mean), features.dot(self._factor)
        return ActionScores(value.astype(np.float64), spread.astype(np.float64))


def _with_constant(hidden: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pad(hidden.double(), (0, 1), value=1.0)
