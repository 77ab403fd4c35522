"""Implicit quantile networks: any quantile of the return is asked for by its probability.

Dabney et al. 2018b. Two differences. The product of the joint features with the embedded probability goes
straight into the output layer, so that at acting a fixed grid of probabilities is one matrix. And
choices, in the target too, are made on that grid: what is maximized is what is served.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from agent_core.functional.batch_draws import batch_keys
from agent_core.functional.draws import uniforms
from agent_core.functional.quantiles import midpoints, quantile_huber, worth
from agent_core.functional.segments import at_rows, segment_argmax
from agent_core.interfaces import Capability, Policy, PolicyLearner, Scorer
from agent_core.networks.perceptrons import JointFeatures, NumpyFeatures
from agent_core.policy_learners.quantile_policy import QuantileScorer
from agent_core.policy_learners.temporal_difference import (
    Losses,
    TemporalDifferenceConfig,
    TemporalDifferenceLearner,
)
from agent_core.types import Floats, ProblemSpec, RaggedActions, RiskMeasure, TransitionBatch


class IqnConfig(TemporalDifferenceConfig):
    """Configures implicit quantile networks.

    `samples`: how many probabilities are drawn for each transition of an update, for what is trained
    and again for its target (the paper's N and N'). `quantiles`: K, size of the grid that acts.
    `kappa`: where the loss turns from quadratic to linear, in units of the return. The paper has 1, for
    rewards of 1; a risk measure needs it well below the spread of returns. What is as rare as one of the
    quantiles hardly moves the value.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"sequential", "sets", "replay", "gradient", "distribution", "td_error"}
    )
    kind: Literal["iqn"] = "iqn"
    samples: int = Field(default=8, ge=1, le=1000)
    quantiles: int = Field(default=32, ge=2, le=1000)
    kappa: float = Field(default=0.1, gt=0)

    def build_policy(self, spec: ProblemSpec) -> IqnPolicy:
        return IqnPolicy(spec, self.hidden, self.quantiles)

    def build_learner(self, policy: IqnPolicy, spec: ProblemSpec) -> PolicyLearner:
        loss = partial(
            iqn_losses,
            discount=self.discount,
            risk=spec.risk,
            samples=self.samples,
            grid=self.quantiles,
            kappa=self.kappa,
        )
        return TemporalDifferenceLearner(policy, policy.network, loss, self)


class ImplicitQuantileNetwork(nn.Module):
    """Quantiles at any probabilities tau: out(features(s, a) * relu(W cos(pi i tau) + b)), i < 64."""

    def __init__(self, spec: ProblemSpec, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.features = JointFeatures(spec, hidden)
        self.embed = nn.Linear(_COSINES, hidden[-1])
        self.out = nn.Linear(hidden[-1], 1)

    def embedded(self, taus: torch.Tensor) -> torch.Tensor:
        """`[..., T, H]` for probabilities `[..., T]` (Dabney et al. 2018b, eq. 4)."""
        frequencies = torch.pi * torch.arange(_COSINES, device=taus.device)
        return self.embed((taus.unsqueeze(-1) * frequencies).cos()).relu()  # type: ignore[no-any-return]  # nn.Module

    def grid(self, state: torch.Tensor, actions: RaggedActions, taus: torch.Tensor) -> torch.Tensor:
        """`[N, K]`: quantiles of every action at the same `taus` `[K]`."""
        weights = self.embedded(taus) * self.out.weight
        return self.features(state, actions) @ weights.T + self.out.bias  # type: ignore[no-any-return]  # nn.Module

    def pairs(self, features: torch.Tensor, taus: torch.Tensor) -> torch.Tensor:
        """`[B, T]`: quantiles at `taus` `[B, T]` of actions with joint features `[B, H]`."""
        quantiles: torch.Tensor = self.out(features.unsqueeze(1) * self.embedded(taus))
        return quantiles.squeeze(-1)


class IqnPolicy(Policy):
    """Values actions by the quantiles at a fixed grid of K probabilities."""

    def __init__(self, spec: ProblemSpec, hidden: tuple[int, ...], quantiles: int) -> None:
        super().__init__()
        self._risk = spec.risk
        self._grid = quantiles
        self.network = ImplicitQuantileNetwork(spec, hidden)
        self.network.requires_grad_(False)

    def values(self, state: torch.Tensor, actions: RaggedActions) -> torch.Tensor:
        taus = midpoints(self._grid).to(state)
        return worth(self.network.grid(state, actions, taus), self._risk)

    def scorer(self) -> Scorer:
        return QuantileScorer(_NumpyGrid(self.network, self._grid), self._risk)


def drawn_taus(batch: TransitionBatch, samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two times `[B, samples]` in [0, 1), drawn anew for each batch."""
    ours, theirs = uniforms(batch_keys(batch.key), 2 * samples).chunk(2, dim=1)
    return ours, theirs


def implicit_target(
    target: ImplicitQuantileNetwork,
    batch: TransitionBatch,
    taus: torch.Tensor,
    discount: float,
    risk: RiskMeasure | None,
    grid: int,
) -> torch.Tensor:
    """`[B, T]`: reward + discount * the quantiles at `taus` `[B, T]` of the next action worth most."""
    following = batch.next_actions
    features = target.features(batch.next_state, following)
    on_grid = target.grid(batch.next_state, following, midpoints(grid).to(taus))
    best = segment_argmax(worth(on_grid, risk), following)
    quantiles = target.pairs(at_rows(features, best), taus)
    exists = batch.bootstraps * (best < len(following.features))
    return batch.reward.unsqueeze(1) + discount * exists.unsqueeze(1) * quantiles


def iqn_losses(
    trained: ImplicitQuantileNetwork,
    target: ImplicitQuantileNetwork,
    batch: TransitionBatch,
    discount: float,
    risk: RiskMeasure | None,
    samples: int,
    grid: int,
    kappa: float,
) -> Losses:
    """Quantile Huber losses at drawn probabilities (Dabney et al. 2018b, eq. 3); errors are of the means."""
    ours, theirs = drawn_taus(batch, samples)
    wanted = implicit_target(target, batch, theirs, discount, risk, grid)
    features = trained.features.pairs(batch.state, batch.chosen_features())
    predicted = trained.pairs(features, ours)
    mean = wanted.mean(1)
    errors = (predicted.mean(1) - mean).abs()
    return Losses(quantile_huber(predicted, ours, wanted, kappa), errors, mean)


class _NumpyGrid:
    def __init__(self, network: ImplicitQuantileNetwork, quantiles: int) -> None:
        self._hidden = NumpyFeatures(network.features)
        weights = network.embedded(midpoints(quantiles).to(network.out.weight)) * network.out.weight
        bias = network.out.bias.expand(quantiles, 1)
        matrix = torch.cat([weights, bias], dim=1).T
        self._matrix: Floats = np.ascontiguousarray(matrix.detach().cpu().numpy())

    def prepare(self, actions: Floats) -> Floats:
        return self._hidden.prepare(actions)

    def outputs(self, state: Floats, prepared: Floats) -> Floats:
        quantiles: Floats = self._hidden.features(state, prepared).dot(self._matrix)
        return quantiles


_COSINES = 64
