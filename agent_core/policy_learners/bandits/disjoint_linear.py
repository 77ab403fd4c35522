"""A Bayesian linear regression for each action, in closed form, while actions come and go.

Li et al. 2010, algorithm 1 (LinUCB with disjoint models): what is learned about one action says nothing
about another. Two differences: an arm is made when its id is first learned about, and at most so many
are kept; and which exploration uses the posterior is up to the exploration module.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
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


class DisjointLinearConfig(PolicyLearnerConfig):
    """Configures `DisjointLinearLearner`.

    `max_arms`: how many models are kept, of d * d numbers each, where d is 1 + state and action features;
    beyond it the arm that was not learned about for longest is forgotten. `ridge`: precision of the
    prior of each weight. `forgetting`: in (0, 1], the weight that an arm's older evidence keeps when new
    evidence on it comes.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"spread", "bandit", "sets", "observes", "arms"}
    )
    kind: Literal["disjoint_linear"] = "disjoint_linear"
    max_arms: int = Field(default=256, ge=1, le=1_000_000)
    ridge: float = Field(default=1.0, gt=0)
    forgetting: float = Field(default=1.0, gt=0, le=1)

    def build_policy(self, spec: ProblemSpec) -> DisjointLinearPolicy:
        return DisjointLinearPolicy(spec, self.max_arms, self.ridge)

    def build_learner(self, policy: DisjointLinearPolicy, spec: ProblemSpec) -> PolicyLearner:
        del spec
        return DisjointLinearLearner(policy, self.forgetting)


class DisjointLinearPolicy(Policy):
    """Values actions by the posterior mean of their own arm; an arm never seen has the prior.

    K slots: `arms` `[K]` int64, the position of the id that has the slot, -1 if none has. `last_seen`
    `[K]` int64, the number of the observation that the arm had last, -1 if none. `mean`: `[K, d]`,
    `factor`: `[K, d, d]`, float64. Without positions in the represented actions there is a single arm.
    """

    arms: torch.Tensor
    last_seen: torch.Tensor
    mean: torch.Tensor
    factor: torch.Tensor
    prior: torch.Tensor

    def __init__(self, spec: ProblemSpec, max_arms: int, ridge: float) -> None:
        super().__init__()
        self.has_positions = spec.embedding is not None
        slots = max_arms if self.has_positions else 1
        dim = 1 + spec.state_dim + spec.action_dim - self.has_positions
        prior = bayes.prior_factor(dim, ridge)
        self.register_buffer("arms", torch.full((slots,), -1))
        self.register_buffer("last_seen", torch.full((slots,), -1))
        self.register_buffer("mean", torch.zeros(slots, dim, dtype=torch.float64))
        self.register_buffer("factor", prior.repeat(slots, 1, 1))
        self.register_buffer("prior", prior, persistent=False)

    def split(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions `[N]` int64 and features `[N, F]` of represented `actions` `[N, D]`."""
        if not self.has_positions:
            return torch.zeros_like(actions[:, 0], dtype=torch.int64), actions
        return actions[:, 0].long(), actions[:, 1:]

    def values(self, state: torch.Tensor, actions: RaggedActions) -> torch.Tensor:
        positions, features = self.split(actions.features)
        x = joint_features(spread(state, actions), features)
        is_known, slot = _found(positions, self.arms)
        return torch.where(is_known, (x * self.mean[slot]).sum(1), 0.0).float()

    def scorer(self) -> Scorer:
        return _DisjointScorer(self)


def joint_features(state: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """`[N, d]` float64: (1, state, features) of `state` `[N, S]` and `features` `[N, F]`."""
    one = torch.ones(len(features), 1, dtype=torch.float64, device=features.device)
    return torch.cat([one, state, features], dim=1)


class DisjointLinearLearner:
    """Updates one arm's posterior by one rank-one step per transition; there is nothing to replay."""

    def __init__(self, policy: DisjointLinearPolicy, forgetting: float) -> None:
        self.policy: ServedPolicy = policy
        self._arms = policy
        self._forgetting = forgetting

    def observe(self, new: TransitionBatch) -> None:
        policy = self._arms
        positions, features = policy.split(new.chosen_features())
        rows = zip(joint_features(new.state, features), new.reward.double(), strict=True)
        for position, (x, reward) in zip(positions.tolist(), rows, strict=True):
            slot = self._slot_of(position)
            bayes.condition_(policy.mean[slot], policy.factor[slot], x, reward, self._forgetting)
            policy.last_seen[slot] = policy.last_seen.max() + 1

    def _slot_of(self, position: int) -> int:
        policy = self._arms
        if len(known := (policy.arms == position).nonzero()):
            return int(known[0])
        # A free slot counts as never seen, so it goes first.
        slot = int(policy.last_seen.argmin())
        policy.arms[slot] = position
        policy.mean[slot] = 0.0
        policy.factor[slot] = policy.prior
        return slot

    def update(self, batch: TransitionBatch) -> Update:
        del batch  # `observe` has already counted these
        return Update({})

    def refresh(self, everything: Iterable[TransitionBatch]) -> None:
        """Does nothing: the features never move."""

    def training_state(self) -> TrainingState:
        return {}

    def load_training_state(self, state: TrainingState) -> None:
        del state  # the arms are in the policy


class _DisjointScorer:
    """Holds the slots in use, and one more that is the prior."""

    def __init__(self, policy: DisjointLinearPolicy) -> None:
        used = policy.arms >= 0
        arms, order = policy.arms[used].sort()
        prior = torch.zeros_like(policy.mean[:1]), policy.prior.unsqueeze(0)
        self._arms = arms.cpu().numpy()
        self._mean = _floats(torch.cat([policy.mean[used][order], prior[0]]))
        self._factor = _floats(torch.cat([policy.factor[used][order], prior[1]]))
        self._has_positions = policy.has_positions

    def prepare(self, actions: Floats) -> Floats:
        """`[A, 2 + F]`: the slot, the position, and the features."""
        if self._has_positions:
            positions = actions[:, 0].astype(np.int64)
            slots = np.searchsorted(self._arms, positions)
            slots[~np.isin(positions, self._arms)] = len(self._arms)
            return np.column_stack([slots.astype(np.float32), actions])
        slot, position = (
            np.float32(0),
            np.float32(0),
        )  # of the only arm, or of the prior before it is there
        return np.column_stack(
            [np.full(len(actions), slot), np.full(len(actions), position), actions]
        )

    def value(self, state: Floats, prepared: Floats) -> Doubles:
        x, slots = self._joint(state, prepared), prepared[:, 0].astype(np.intp)
        value: Floats = np.einsum("ad,ad->a", x, self._mean[slots])
        return value.astype(np.float64)

    def score(self, state: Floats, prepared: Floats) -> ActionScores:
        x, slots = self._joint(state, prepared), prepared[:, 0].astype(np.intp)
        rows = np.matmul(x[:, None], self._factor[slots])[:, 0].astype(np.float64)
        return ActionScores(self.value(state, prepared), _independent(rows, prepared[:, 1]))

    def _joint(self, state: Floats, prepared: Floats) -> Floats:
        """`[A, d]`: (1, state, features)."""
        x = np.empty((len(prepared), self._mean.shape[1]), np.float32)
        x[:, 0], x[:, 1 : len(state) + 1], x[:, len(state) + 1 :] = 1.0, state, prepared[:, 2:]
        return x


def _independent(rows: Doubles, arms: npt.NDArray[np.floating]) -> Doubles:
    """`[A, R]`: a factor of the covariance between actions, whose own factors are `rows` `[A, d]`.

    Actions of the same arm share its d columns; different arms share none, because they are independent.
    Where all arms differ, one column for each is enough: its deviation.
    """
    distinct, arm = np.unique(arms, return_inverse=True)
    if len(distinct) == 1:
        return rows
    if len(distinct) == len(rows):
        return np.diag(np.sqrt(np.einsum("ad,ad->a", rows, rows)))
    apart = np.zeros((len(rows), len(distinct), rows.shape[1]))
    apart[np.arange(len(rows)), arm] = rows
    return apart.reshape(len(rows), -1)


def _found(positions: torch.Tensor, arms: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether each of `positions` `[N]` is among `arms` `[K]`, and where; anywhere if it is not."""
    arms, order = arms.sort()
    at = torch.searchsorted(arms, positions).clamp(max=len(arms) - 1)
    return arms[at] == positions, order[at]


def _floats(tensor: torch.Tensor) -> Floats:
    floats: Floats = tensor.cpu().numpy().astype(np.float32)
    return floats
