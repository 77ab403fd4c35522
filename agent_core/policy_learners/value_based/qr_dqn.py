"""Quantile regression DQN: the distribution of returns as quantiles at fixed probabilities.

Dabney et al. 2018. What is chosen, here and in the target, has the highest mean, or what the policy's risk
measure puts in its place.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field

from agent_core.functional.quantiles import midpoints, quantile_huber, worth
from agent_core.functional.segments import at_rows, segment_argmax
from agent_core.interfaces import Capability, Policy, PolicyLearner, Scorer
from agent_core.networks.perceptrons import ActionValueNetwork, NumpyOutputs
from agent_core.policy_learners.quantile_policy import QuantileScorer
from agent_core.policy_learners.temporal_difference import (
    Losses,
    TemporalDifferenceConfig,
    TemporalDifferenceLearner,
)
from agent_core.types import ProblemSpec, RaggedActions, RiskMeasure, TransitionBatch


class QrDqnConfig(TemporalDifferenceConfig):
    """Configures QR-DQN.

    `quantiles`: K, how many. `kappa`: where the loss turns from quadratic to linear, in units of the
    return. The papers have 1, for rewards of 1; a risk measure needs it well below the spread of returns,
    for above it quantiles are drawn towards the mean. An outcome with a probability below 1 / (2 K) moves
    no quantile, and not the value either.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"sequential", "sets", "replay", "gradient", "distribution", "td_error"}
    )
    kind: Literal["qr_dqn"] = "qr_dqn"
    quantiles: int = Field(default=32, ge=2, le=1000)
    # 0.1: the worst quarter of a fair coin between 0 and 1 is judged 0.015; with 1 it is 0.13 (3 seeds).
    kappa: float = Field(default=0.1, gt=0)

    def build_policy(self, spec: ProblemSpec) -> QrDqnPolicy:
        return QrDqnPolicy(spec, self.hidden, self.quantiles)

    def build_learner(self, policy: QrDqnPolicy, spec: ProblemSpec) -> PolicyLearner:
        loss = partial(qr_dqn_losses, discount=self.discount, risk=spec.risk, kappa=self.kappa)
        return TemporalDifferenceLearner(policy, policy.network, loss, self)


class QrDqnPolicy(Policy):
    """Values actions by the quantiles of a network with K outputs, in no certain order."""

    def __init__(self, spec: ProblemSpec, hidden: tuple[int, ...], quantiles: int) -> None:
        super().__init__()
        self._risk = spec.risk
        self.network = ActionValueNetwork(spec, hidden, quantiles)
        self.network.requires_grad_(False)

    def values(self, state: torch.Tensor, actions: RaggedActions) -> torch.Tensor:
        return worth(self.network(state, actions), self._risk)

    def scorer(self) -> Scorer:
        return QuantileScorer(NumpyOutputs(self.network), self._risk)


def quantile_target(
    target: ActionValueNetwork, batch: TransitionBatch, discount: float, risk: RiskMeasure | None
) -> torch.Tensor:
    """`[B, K]`: reward + discount * the quantiles of the next available action that is worth most.

    Dabney et al. 2018, algorithm 1, with `risk` in place of the mean.
    """
    following = batch.next_actions
    quantiles = target(batch.next_state, following)
    best = segment_argmax(worth(quantiles, risk), following)
    bootstraps = discount * batch.bootstraps
    return batch.reward.unsqueeze(1) + bootstraps.unsqueeze(1) * at_rows(quantiles, best)


def qr_dqn_losses(
    trained: ActionValueNetwork,
    target: ActionValueNetwork,
    batch: TransitionBatch,
    discount: float,
    risk: RiskMeasure | None,
    kappa: float,
) -> Losses:
    """Quantile Huber losses (Dabney et al. 2018, eq. 10, over `kappa`) of the chosen actions; errors are of the means."""
    wanted = quantile_target(target, batch, discount, risk)
    predicted = trained.pairs(batch.state, batch.chosen_features())
    taus = midpoints(predicted.shape[1]).to(predicted)
    mean = wanted.mean(1)
    errors = (predicted.mean(1) - mean).abs()
    return Losses(quantile_huber(predicted, taus, wanted, kappa), errors, mean)
