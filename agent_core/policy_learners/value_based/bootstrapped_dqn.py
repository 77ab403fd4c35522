"""Bootstrapped DQN: K opinions about every action, each from its own share of the data.

Osband et al. 2016, with the additive prior functions of Osband et al. 2018: each member learns what to add
to a random function that never changes, so that members agree where there is data and nowhere else.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from agent_core.functional.draws import uniforms
from agent_core.interfaces import Capability, Policy, PolicyLearner, Scorer
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


class BootstrappedDqnConfig(HuberConfig):
    """Configures bootstrapped DQN.

    `members`: K, heads on one body. `learning_share`: in (0, 1], the probability that a member learns
    from a transition; drawn once for each of both, so it holds for ever. `prior_scale`: what the random
    functions are multiplied by, in units of the value; 0 leaves them out.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"members", "sequential", "sets", "replay", "gradient", "td_error"}
    )
    kind: Literal["bootstrapped_dqn"] = "bootstrapped_dqn"
    members: int = Field(default=10, ge=2, le=1000)
    learning_share: float = Field(default=0.5, gt=0, le=1)
    prior_scale: float = Field(default=3.0, ge=0)

    def build_policy(self, spec: ProblemSpec) -> BootstrappedDqnPolicy:
        return BootstrappedDqnPolicy(spec, self.hidden, self.members, self.prior_scale)

    def build_learner(self, policy: BootstrappedDqnPolicy, spec: ProblemSpec) -> PolicyLearner:
        del spec
        loss = partial(
            bootstrapped_losses,
            policy=policy,
            discount=self.discount,
            learning_share=self.learning_share,
            bend=self.huber_bend,
        )
        return TemporalDifferenceLearner(policy, policy.network, loss, self)


class BootstrappedDqnPolicy(Policy):
    """Values actions by the mean of its members; `prior` stays what it was drawn as."""

    def __init__(
        self, spec: ProblemSpec, hidden: tuple[int, ...], members: int, prior_scale: float
    ) -> None:
        super().__init__()
        self.network = ActionValueNetwork(spec, hidden, members)
        self.prior = ActionValueNetwork(spec, hidden, members) if prior_scale else None
        self.prior_scale = prior_scale
        self.requires_grad_(False)

    def members(
        self, network: ActionValueNetwork, state: torch.Tensor, actions: RaggedActions
    ) -> torch.Tensor:
        """`[N, K]`: what each member thinks, by `network` and the prior."""
        learned: torch.Tensor = network(state, actions)
        if self.prior is None:
            return learned
        prior: torch.Tensor = self.prior(state, actions)
        return learned + self.prior_scale * prior

    def chosen(self, network: ActionValueNetwork, batch: TransitionBatch) -> torch.Tensor:
        """`[B, K]`: the same for the actions that were taken."""
        features = batch.chosen_features()
        learned = network.pairs(batch.state, features)
        if self.prior is None:
            return learned
        return learned + self.prior_scale * self.prior.pairs(batch.state, features)

    def values(self, state: torch.Tensor, actions: RaggedActions) -> torch.Tensor:
        return self.members(self.network, state, actions).mean(1)

    def scorer(self) -> Scorer:
        return _MembersScorer(self)


def learns(key: torch.Tensor, members: int, learning_share: float) -> torch.Tensor:
    """`[B, K]` float, 1 where a member learns from the transition with that `key` `[B]`, else 0."""
    return (uniforms(key, members) < learning_share).float()


def bootstrapped_losses(
    trained: ActionValueNetwork,
    target: ActionValueNetwork,
    batch: TransitionBatch,
    policy: BootstrappedDqnPolicy,
    discount: float,
    learning_share: float,
    bend: float | None = 1.0,
) -> Losses:
    """Huber losses of each member that learns from the row, against its own target, over K.

    Osband et al. 2016, eq. 4 (the mask of each transition), and 2018, algorithm 1 (the prior, which is
    in the predictions and in the targets). Errors are the mean over all members.
    """
    following = policy.members(target, batch.next_state, batch.next_actions)
    wanted = members_target(following, batch, discount)
    predicted = policy.chosen(trained, batch)
    losses = huber(predicted, wanted, bend)
    mask = learns(batch.key, wanted.shape[1], learning_share)
    errors = (predicted - wanted).abs().mean(1)
    return Losses((mask * losses).mean(1), errors, wanted.mean(1))


class _MembersScorer:
    def __init__(self, policy: BootstrappedDqnPolicy) -> None:
        self._learned = NumpyOutputs(policy.network)
        self._prior = None if policy.prior is None else NumpyOutputs(policy.prior)
        self._scale = np.float32(policy.prior_scale)

    def prepare(self, actions: Floats) -> Floats:
        """`[A, H]` of the learned network, and as much of the prior."""
        learned = self._learned.prepare(actions)
        if self._prior is None:
            return learned
        return np.concatenate((learned, self._prior.prepare(actions)), axis=1)

    def value(self, state: Floats, prepared: Floats) -> Doubles:
        return self.score(state, prepared).value

    def score(self, state: Floats, prepared: Floats) -> ActionScores:
        """With the members."""
        members = self._members(state, prepared).astype(np.float64)
        return ActionScores(members.mean(axis=1), members=members)

    def _members(self, state: Floats, prepared: Floats) -> Floats:
        if self._prior is None:
            return self._learned.outputs(state, prepared)
        learned, prior = np.split(prepared, 2, axis=1)
        members: Floats = self._learned.outputs(state, learned)
        members = members + self._scale * self._prior.outputs(state, prior)
        return members
