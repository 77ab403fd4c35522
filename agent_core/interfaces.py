"""What a module owes to the agent that is composed of it.

    observation -> Featurizer -> state ----------------------+
    actions -> Featurizer -> ActionRepresentation -> [A, D] -+-> SafetyModule.allowed
        -> Scorer -> ExplorationModule.probabilities -> choice -> Decision

    Transition -> ReplayBuffer -> PolicyLearner.update -> Policy -> Scorer (in a server, by snapshot)

A module's config is a frozen pydantic model in the module's own file, with a literal `kind`; it is the
only place where defaults live, and its `build` makes the module. `registry.py` lists the configs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal, Protocol

import torch
from pydantic import BaseModel, ConfigDict

from agent_core.types import (
    ActionScores,
    ActionSet,
    Doubles,
    Floats,
    Mask,
    ProblemSpec,
    RaggedActions,
    Transition,
    TransitionBatch,
)

Capability = Literal["spread", "bandit", "sequential", "replay"]
"""What a learner can do: `spread` gives a posterior factor; `bandit` ignores what follows a decision;
`sequential` bootstraps from the next decision; `replay` learns from replayed batches."""

TrainingState = dict[str, torch.Tensor]
"""A flat mapping from dotted names to tensors: what safetensors stores."""


class ModuleConfig(BaseModel):
    """Base of every config: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Scorer(Protocol):
    """The numpy form of a policy, used for acting. Immutable; safe to share between requests."""

    def prepare(self, actions: Floats) -> Floats:
        """The part of the score that depends on the actions alone: `[A, D]` -> `[A, H]`.

        Row i depends only on row i, so a catalog is prepared once per snapshot and rows are taken
        from it per request.
        """
        ...

    def value(self, state: Floats, prepared: Floats) -> Doubles:
        """`[A]` float64: what the prepared actions are worth in `state` `[S]`.

        For whoever needs no spread: it may cost more than all the rest.
        """
        ...

    def score(self, state: Floats, prepared: Floats) -> ActionScores:
        """The same values to the last bit, with the spread if the policy has one."""
        ...


class Policy(torch.nn.Module, ABC):
    """The act half of an algorithm. Every tensor needed to decide is a parameter or buffer of it."""

    @abstractmethod
    def values(self, state: torch.Tensor, actions: RaggedActions) -> torch.Tensor:
        """`[N]` expected returns of every action of a batch: `state` is `[B, S]`."""

    @abstractmethod
    def scorer(self) -> Scorer:
        """The numpy form, holding copies of the current weights; agrees with `values` to 1e-4."""


class PolicyLearner(Protocol):
    """The learn half of an algorithm. Contains one policy, and its targets, optimizers, counters."""

    policy: Policy

    def observe(self, new: TransitionBatch) -> None:
        """Takes in new transitions, each exactly once and in order (closed-form statistics)."""
        ...

    def update(self, batch: TransitionBatch) -> dict[str, float]:
        """One gradient step on a replayed batch; returns scalar metrics."""
        ...

    def refresh(self, everything: Iterable[TransitionBatch]) -> None:
        """Rebuilds statistics that went stale because the features moved, from the whole replay."""
        ...

    def training_state(self) -> TrainingState:
        """Everything besides the policy's own state dict that the next update depends on."""
        ...

    def load_training_state(self, state: TrainingState) -> None:
        """Continues bit-exactly from `training_state()`."""
        ...


class ExplorationModule(Protocol):
    """Turns scores into the probability of every action. Keeps no state."""

    def probabilities(self, scores: ActionScores, *, experience: int, seed: int) -> Doubles:
        """`[A]` float64 that sums to 1: the exact distribution from which the action is drawn.

        `experience`: transitions that the policy has learned from (drives schedules). `seed`: 64-bit
        integer for modules that estimate their distribution by Monte-Carlo draws; the action is then
        drawn from that very estimate, so the logged number is the probability of what was played.
        """
        ...


class SafetyModule(Protocol):
    """May only remove actions."""

    def allowed(self, state: Floats, actions: ActionSet) -> Mask:
        """`[A]` bool: which actions may be taken in `state`."""
        ...


class ActionRepresentation(Protocol):
    """Turns ids and features of actions into the vectors that policies see."""

    dim: int

    def encode(self, ids: Sequence[str], features: Floats) -> Floats:
        """`[A, D]` from A ids and their featurized `[A, F]` (F may be 0). Row i depends on i only."""
        ...


class ReplayBuffer(Protocol):
    """Bounded memory of transitions."""

    def append(self, transition: Transition) -> None:
        """Stores one transition, forgetting the oldest when full."""
        ...

    def sample(self, size: int, generator: torch.Generator) -> TransitionBatch:
        """`size` transitions drawn uniformly with replacement."""
        ...

    def batches(self, size: int) -> Iterable[TransitionBatch]:
        """Everything stored, oldest first, in batches of at most `size`."""
        ...

    def __len__(self) -> int: ...

    def training_state(self) -> TrainingState:
        """The whole content as tensors."""
        ...

    def load_training_state(self, state: TrainingState) -> None:
        """Replaces the content by a saved one."""
        ...


class ExplorationConfig(ModuleConfig, ABC):
    """Base of exploration configs; `needs` lists what the learner must be able to do."""

    needs: ClassVar[frozenset[Capability]] = frozenset()

    @abstractmethod
    def build(self) -> ExplorationModule: ...


class SafetyConfig(ModuleConfig, ABC):
    """Base of safety configs."""

    @abstractmethod
    def build(self) -> SafetyModule: ...


class ActionRepresentationConfig(ModuleConfig, ABC):
    """Base of action representation configs."""

    @abstractmethod
    def build(self, feature_dim: int) -> ActionRepresentation:
        """For actions with `feature_dim` featurized numbers each (0: ids only)."""


class ReplayConfig(ModuleConfig, ABC):
    """Base of replay configs."""

    @abstractmethod
    def build(self, spec: ProblemSpec, device: torch.device) -> ReplayBuffer: ...


class PolicyLearnerConfig(ModuleConfig, ABC):
    """Base of learner configs; `capabilities` is what the compatibility check compares."""

    capabilities: ClassVar[frozenset[Capability]]

    @property
    def refresh_period(self) -> int:
        """How often `refresh` is due, in updates; 0 means never."""
        return 0

    @abstractmethod
    def build_policy(self, spec: ProblemSpec) -> Policy:
        """A fresh policy. Reads torch's global RNG for its initial weights; the caller seeds it."""

    @abstractmethod
    def build_learner(self, policy: Policy) -> PolicyLearner: ...
