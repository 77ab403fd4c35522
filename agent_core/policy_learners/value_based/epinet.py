"""Deep Q-learning with an epinet: as many opinions as there are normal vectors, from one small network.

Osband et al. 2023, "Epistemic Neural Networks" (the network: mu + sigma, with sigma the sum of a learned part and
of a fixed prior) and Osband et al. 2023, "Approximate Thompson Sampling via Epistemic Neural Networks"
(Q-learning with it: the loss at one index, averaged over indices that are drawn; an index is kept for an
episode). An opinion is an index z, drawn from a normal distribution: Q(s, a, z) = base(s, a) +
e(features(s, a), z) . z + scale * p(s, a) . z, where p is random and never changes. Two differences. The prior
p reads states and actions, not the features of the base: those move, and with them would what is to be
learned. And the indices that act are drawn once, with the weights, so that the probability of what is
played is known.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from agent_core.functional.batch_draws import batch_keys, normals
from agent_core.functional.segments import spread
from agent_core.interfaces import Capability, Policy, PolicyLearner, Scorer
from agent_core.networks.epinet import EpistemicNetwork, NumpyEpistemic
from agent_core.networks.perceptrons import ActionValueNetwork, NumpyOutputs
from agent_core.policy_learners.members import members_target
from agent_core.policy_learners.temporal_difference import (
    HuberConfig,
    Losses,
    TemporalDifferenceLearner,
    huber,
)
from agent_core.types import (
    ActionScores,
    Doubles,
    Floats,
    ProblemSpec,
    RaggedActions,
    TransitionBatch,
)


class EpinetConfig(HuberConfig):
    """Configures deep Q-learning with an epinet.

    `members`: K, how many indices act; they are drawn once, with the weights. `index_dim`: Z, length of
    an index. `epinet_units`: width of the epinet's hidden layer. `index_samples`: M, how many indices each
    transition of an update is learned at. `prior_scale`: what the random function is multiplied by, in
    units of the value. `noise_scale`: standard deviation, over indices, of what is added to a reward, in
    units of the reward; it is drawn once for each transition, so that opinions differ where rewards do.

    The epinet is uncertain only about what the last layer of `hidden` tells apart. In a deep sea of depth 6
    the treasure was found for good with 128 units there on 10 of the schedule's seeds 0 to 9, with 64 on 8.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"members", "sequential", "sets", "replay", "gradient", "td_error"}
    )
    kind: Literal["epinet"] = "epinet"
    members: int = Field(default=20, ge=2, le=1000)
    index_dim: int = Field(default=8, ge=2, le=1000)
    epinet_units: int = Field(default=32, ge=1)
    index_samples: int = Field(default=8, ge=1, le=1000)
    prior_scale: float = Field(default=1.0, gt=0)
    noise_scale: float = Field(default=0.0, ge=0)

    def build_policy(self, spec: ProblemSpec) -> EpinetPolicy:
        return EpinetPolicy(spec, self)

    def build_learner(self, policy: EpinetPolicy, spec: ProblemSpec) -> PolicyLearner:
        del spec
        loss = partial(
            epinet_losses,
            policy=policy,
            discount=self.discount,
            index_samples=self.index_samples,
            noise_scale=self.noise_scale,
            bend=self.huber_bend,
        )
        return TemporalDifferenceLearner(policy, policy.network, loss, self)


class EpinetPolicy(Policy):
    """Values actions by the mean of its members, the opinions at K fixed `indices` `[K, Z]`.

    The mean of the members, not the base alone: it is what `deep` exploration plays on average, and with
    few members it holds a part of the prior.
    """

    indices: torch.Tensor

    def __init__(self, spec: ProblemSpec, config: EpinetConfig) -> None:
        super().__init__()
        dim = config.index_dim
        self.network = EpistemicNetwork(spec, config.hidden, dim, config.epinet_units)
        self.prior = ActionValueNetwork(spec, config.hidden, dim)
        self.prior_scale = config.prior_scale
        self.register_buffer("indices", torch.randn(config.members, dim))
        self.requires_grad_(False)

    def members(
        self,
        network: EpistemicNetwork,
        state: torch.Tensor,
        actions: RaggedActions,
        index: torch.Tensor,
    ) -> torch.Tensor:
        """`[N, M]`: opinions by `network` and the prior, at `index` `[M, Z]` or `[N, M, Z]`."""
        learned: torch.Tensor = network(state, actions, index)
        return learned + self._opinions(self.prior(state, actions), index)

    def chosen(
        self, network: EpistemicNetwork, batch: TransitionBatch, index: torch.Tensor
    ) -> torch.Tensor:
        """`[B, M]`: the same for the actions that were taken, at `index` `[B, M, Z]`."""
        features = batch.chosen_features()
        learned = network.pairs(batch.state, features, index)
        return learned + self._opinions(self.prior.pairs(batch.state, features), index)

    def _opinions(self, prior: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return self.prior_scale * (prior.unsqueeze(1) * index).sum(-1)

    def values(self, state: torch.Tensor, actions: RaggedActions) -> torch.Tensor:
        return self.members(self.network, state, actions, self.indices).mean(1)

    def scorer(self) -> Scorer:
        return _EpinetScorer(self)


def drawn_indices(key: torch.Tensor, samples: int, index_dim: int) -> torch.Tensor:
    """`[B, M, Z]` standard normal, other ones for another batch; `key`: `[B]` of the batch."""
    return normals(batch_keys(key), samples * index_dim).view(len(key), samples, index_dim)


def reward_noise(key: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """`[B, M]`: c . z, where c is drawn once for each `key` `[B]` uniformly from the unit sphere.

    `index`: z, `[B, M, Z]`. To each z the noise of transitions is as if normal and independent: Gaussian
    bootstrapping (Osband et al. 2023; as in the authors' `enn` for a normal index).
    """
    direction = torch.nn.functional.normalize(normals(key, index.shape[-1]), dim=1)
    return (direction.unsqueeze(1) * index).sum(-1)


def epinet_losses(
    trained: EpistemicNetwork,
    target: EpistemicNetwork,
    batch: TransitionBatch,
    policy: EpinetPolicy,
    discount: float,
    index_samples: int,
    noise_scale: float,
    bend: float | None = 1.0,
) -> Losses:
    """`losses_at` at M indices drawn for each transition of the batch."""
    index = drawn_indices(batch.key, index_samples, policy.indices.shape[1])
    return losses_at(index, trained, target, batch, policy, discount, noise_scale, bend)


def losses_at(
    index: torch.Tensor,
    trained: EpistemicNetwork,
    target: EpistemicNetwork,
    batch: TransitionBatch,
    policy: EpinetPolicy,
    discount: float,
    noise_scale: float,
    bend: float | None = 1.0,
) -> Losses:
    """Huber losses of the opinions at `index` `[B, M, Z]`, each against its own target, over M.

    The Q-learning loss of an epistemic network; that of the authors' `enn_acme` squares the errors.

    The same index is on both sides, and so is the prior: an opinion is consistent with itself from step
    to step. Errors are the mean over the indices.
    """
    following = spread(index, batch.next_actions)
    opinions = policy.members(target, batch.next_state, batch.next_actions, following)
    wanted = members_target(opinions, batch, discount)
    wanted = wanted + noise_scale * reward_noise(batch.key, index)
    predicted = policy.chosen(trained, batch, index)
    losses = huber(predicted, wanted, bend)
    return Losses(losses.mean(1), (predicted - wanted).abs().mean(1), wanted.mean(1))


class _EpinetScorer:
    def __init__(self, policy: EpinetPolicy) -> None:
        self._learned = NumpyEpistemic(policy.network, policy.indices)
        self._prior = NumpyOutputs(policy.prior)
        directions = policy.prior_scale * policy.indices.T
        self._directions: Floats = np.ascontiguousarray(directions.cpu().numpy())

    def prepare(self, actions: Floats) -> Floats:
        """`[A, H + 1]` of the learned network, and as much of the prior."""
        return np.concatenate(
            (self._learned.prepare(actions), self._prior.prepare(actions)), axis=1
        )

    def value(self, state: Floats, prepared: Floats) -> Doubles:
        return self.score(state, prepared).value

    def score(self, state: Floats, prepared: Floats) -> ActionScores:
        """With the members."""
        learned, prior = np.split(prepared, 2, axis=1)
        opinions = self._learned.outputs(state, learned)
        opinions = opinions + self._prior.outputs(state, prior).dot(self._directions)
        members = opinions.astype(np.float64)
        return ActionScores(members.mean(axis=1), members=members)
