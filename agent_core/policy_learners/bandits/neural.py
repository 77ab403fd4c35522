"""Regression of the reward on state and action by a network, without a posterior.

The oracle of SquareCB (Foster & Rakhlin 2020) with squared loss, and of FastCB (Foster & Krishnamurthy
2021) with logarithmic loss. How it explores is up to the exploration module.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch.nn import functional

from agent_core.interfaces import (
    Capability,
    Policy,
    PolicyLearner,
    PolicyLearnerConfig,
    Scorer,
    ServedPolicy,
    Update,
)
from agent_core.networks.perceptrons import ActionValueNetwork, NumpyActionValue
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


class NeuralConfig(PolicyLearnerConfig):
    """Configures `NeuralLearner`.

    `hidden`: widths of the layers. `loss`: `squared` for rewards of any range; `log` for rewards in
    [0, 1], where values are means in (0, 1), and a reward outside counts as the nearer end.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"bandit", "sets", "replay", "gradient", "td_error"}
    )
    kind: Literal["neural"] = "neural"
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (64, 64)
    loss: Literal["squared", "log"] = "squared"
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    max_gradient_norm: MaxGradientNorm = None

    def build_policy(self, spec: ProblemSpec) -> NeuralPolicy:
        return NeuralPolicy(spec, self.hidden, is_logistic=self.loss == "log")

    def build_learner(self, policy: NeuralPolicy, spec: ProblemSpec) -> PolicyLearner:
        del spec
        return NeuralLearner(policy, self)


class NeuralPolicy(Policy):
    """Values actions by one network. `is_logistic`: the network's output is the log-odds of the value."""

    def __init__(self, spec: ProblemSpec, hidden: tuple[int, ...], is_logistic: bool) -> None:
        super().__init__()
        self.network = ActionValueNetwork(spec, hidden)
        self.is_logistic = is_logistic

    def values(self, state: torch.Tensor, actions: RaggedActions) -> torch.Tensor:
        output: torch.Tensor = self.network(state, actions)
        return output.sigmoid() if self.is_logistic else output

    def scorer(self) -> Scorer:
        scorer = NumpyActionValue(self.network)
        return _LogisticScorer(scorer) if self.is_logistic else scorer


def squared_losses(predicted: torch.Tensor, reward: torch.Tensor) -> torch.Tensor:
    """`[B]`: (predicted - reward)^2, the loss of Foster & Rakhlin 2020, section 2.1.

    `predicted`, `reward`: `[B]`, in the unit of the reward.
    """
    return (predicted - reward).square()


def log_losses(log_odds: torch.Tensor, reward: torch.Tensor) -> torch.Tensor:
    """`[B]`: -r log p - (1 - r) log(1 - p) with p = sigmoid(`log_odds`) and r = `reward` in [0, 1].

    The cross-entropy that the regret bound of Foster & Krishnamurthy 2021 asks of its oracle. It is
    the same for losses 1 - r and predictions 1 - p.
    """
    return functional.binary_cross_entropy_with_logits(log_odds, reward, reduction="none")


class NeuralLearner(LearnsInBatches):
    """Trains the network that is served."""

    def __init__(self, policy: NeuralPolicy, config: NeuralConfig) -> None:
        self.policy: ServedPolicy = policy
        self._trained = policy
        rate, decay = config.learning_rate, config.weight_decay
        weights = Weights(policy.network)
        self._step = adam_of(weights, rate, config.max_gradient_norm, decay)
        super().__init__(weights, {"step": self._step})

    def update(self, batch: TransitionBatch) -> Update:
        self.updates += 1
        output = self._trained.network.pairs(batch.state, batch.chosen_features())
        if not self._trained.is_logistic:
            step = self._step.descend((batch.weight * squared_losses(output, batch.reward)).mean())
            return Update(step.metrics, (output.detach() - batch.reward).abs())
        reward = batch.reward.clamp(0, 1)
        step = self._step.descend((batch.weight * log_losses(output, reward)).mean())
        outside = (reward != batch.reward).float().mean()
        errors = (output.detach().sigmoid() - reward).abs()
        return Update(step.metrics | {"rewards_outside": outside}, errors)


class _LogisticScorer:
    """The sigmoid of what another scorer gives."""

    def __init__(self, log_odds: NumpyActionValue) -> None:
        self._log_odds = log_odds

    def prepare(self, actions: Floats) -> Floats:
        """`[A, H + 1]`: the action half of the first layer."""
        return self._log_odds.prepare(actions)

    def value(self, state: Floats, prepared: Floats) -> Doubles:
        # By tanh: the exponential of a large number would overflow.
        value: Doubles = 0.5 + 0.5 * np.tanh(0.5 * self._log_odds.value(state, prepared))
        return value

    def score(self, state: Floats, prepared: Floats) -> ActionScores:
        """Without a spread."""
        return ActionScores(self.value(state, prepared))
