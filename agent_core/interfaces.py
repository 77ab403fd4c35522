"""What a module owes to the agent that is composed of it.

    observation -> Featurizer -> HistoryModule.state -> state -+
    actions -> Featurizer -> ActionRepresentation -> [A, D] ---+-> SafetyModule.allowed
        -> Scorer -> ExplorationModule.probabilities -> choice -> Decision

    state -> BoxScorer -> BoxExploration.draw -> BoxDecision            (continuous actions)

    Transition -> ReplayBuffer -> PolicyLearner.update ----------+
    Transition -> RolloutBuffer -> OnPolicyLearner.learn_rollout +-> Policy -> Scorer (in a server, by snapshot)

A module's config is a frozen pydantic model in the module's own file, with a literal `kind`; it is the
only place where defaults live, and its `build` makes the module. `registry.py` lists the configs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self, TypeAlias, TypeVar

import torch
from pydantic import BaseModel, ConfigDict

from agent_core.types import (
    ActionScores,
    ActionSet,
    Box,
    Doubles,
    Embedding,
    Floats,
    Mask,
    ProblemSpec,
    RaggedActions,
    RiskMeasure,
    Rollout,
    StateSummary,
    TransitionBatch,
    TransitionBlock,
)

Capability = Literal[
    "spread", "members", "bandit", "sequential", "replay", "on_policy", "gradient", "actor",
    "distribution", "td_error", "box", "sets", "observes", "arms",
]  # fmt: skip
"""What a learner can do: `spread` gives a posterior factor, `members` whole posterior samples; `bandit`
ignores what follows a decision, `sequential` bootstraps from the next one; `replay` learns from replayed
batches, `on_policy` from whole episodes played by itself; `gradient` trains its networks from end to end,
so they may hold a history or embeddings; `actor` has values that are log-probabilities up to a constant, or
draws from a distribution of its own in a box;
`distribution` knows whole distributions of returns; `td_error` reports an error for each transition;
`sets` chooses among actions, `box` makes continuous ones; `observes` takes in each transition once;
`arms` keeps a model of each id, and must be told which is which."""

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


class BoxScorer(Protocol):
    """The numpy form of a policy over continuous actions. Immutable."""

    def mean(self, state: Floats) -> Floats:
        """`[D]` float32 within the box: the action without exploration, in `state` `[S]`."""
        ...

    def draw(self, state: Floats, seed: int) -> tuple[Floats, float]:
        """An action from the policy's own distribution and its density; the mean and infinity for a
        policy that has none."""
        ...


class BoxPolicy(torch.nn.Module, ABC):
    """The act half of an algorithm for continuous actions."""

    @abstractmethod
    def means(self, state: torch.Tensor) -> torch.Tensor:
        """`[B, D]` within the box, for `state` `[B, S]`."""

    @abstractmethod
    def scorer(self) -> BoxScorer:
        """The numpy form, holding copies of the current weights; agrees with `means` to 1e-4."""


ServedPolicy: TypeAlias = Policy | BoxPolicy


class Update(NamedTuple):
    """What one update gives: scalar metrics, and `[B]` absolute errors where the learner has `td_error`.

    The metrics are tensors that nobody has looked at: to ask one for its value is to wait for the device.
    """

    metrics: dict[str, torch.Tensor]
    errors: torch.Tensor | None = None


class PolicyLearner(Protocol):
    """The learn half of an algorithm. Contains one policy, and its targets, optimizers, counters."""

    policy: ServedPolicy

    def observe(self, new: TransitionBatch) -> None:
        """Takes in new transitions, each exactly once and in order (closed-form statistics)."""
        ...

    def update(self, batch: TransitionBatch) -> Update:
        """One gradient step on a replayed batch."""
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


class Splittable(Protocol):
    """A batch, of whatever kind."""

    def split(self, count: int) -> list[Self]:
        """`count` batches of equal size, one after the other."""
        ...


_Batch = TypeVar("_Batch", bound=Splittable)


class Runner(Protocol):
    """Makes updates, in the fastest form there is."""

    def __call__(
        self, step: Callable[[_Batch], Update], batches: _Batch, count: int
    ) -> list[Update]:
        """`step`, a method of a learner, on each of the `count` parts of `batches`."""
        ...


class OnPolicyLearner(PolicyLearner, Protocol):
    """Learns from what it played itself, once, and then forgets it."""

    def learn_rollout(
        self, rollout: Rollout, generator: torch.Generator, run: Runner
    ) -> list[Update]:
        """All updates that whole episodes are good for, shuffled by `generator`, made by `run`."""
        ...


class BoxExploration(Protocol):
    """Turns the mean of a continuous policy into what is played. Keeps no state."""

    def draw(
        self, scorer: BoxScorer, state: Floats, box: Box, *, experience: int, seed: int
    ) -> tuple[Floats, float]:
        """The action `[D]` within the box and its exact density (infinite where it was not drawn)."""
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


class ConsistentExploration(ExplorationModule, Protocol):
    """Keeps to one posterior sample for a whole episode. Its `probabilities` are over all samples."""

    def pick(self, scores: ActionScores, episode: int, *, experience: int) -> int | None:
        """The action that the sample of this episode prefers; `episode` is 64 bits of its id. None while
        it keeps to none: then the action is drawn from `probabilities`."""
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

    def extend(self, block: TransitionBlock) -> None:
        """Stores a block, forgetting the oldest when full; how transitions were cut into blocks is not seen."""
        ...

    def sample(self, size: int, generator: torch.Generator) -> TransitionBatch:
        """`size` transitions drawn with replacement; `weight` makes up for a draw that is not uniform."""
        ...

    def feed_back(self, batch: TransitionBatch, errors: torch.Tensor) -> None:
        """What the learner's `errors` `[B]` were on a batch that came from here."""
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


class RolloutBuffer(Protocol):
    """Gathers the episodes that an on-policy learner waits for."""

    def extend(self, block: TransitionBlock) -> None:
        """Adds a block, whose transitions may come in any order."""
        ...

    def take(self) -> Rollout | None:
        """The episodes that are due, which are then forgotten; None while there are too few."""
        ...

    def __len__(self) -> int: ...

    def training_state(self) -> TrainingState: ...

    def load_training_state(self, state: TrainingState) -> None: ...


class HistoryModule(Protocol):
    """Turns what was seen before into a part of the state.

    The carry is data and belongs to the caller, who keeps one for each episode; nothing is kept here. The
    state is the window itself, so what is served and what is trained on are the same numbers.
    """

    state_dim: int
    """S, the length of the states that it makes."""

    summary: StateSummary | None
    """How networks read such a state; None if they take it as it is."""

    def initial_carry(self) -> Floats:
        """`[C]`: the carry before the first observation."""
        ...

    def state(self, carry: Floats, observation: Floats) -> Floats:
        """`[S]` from the carry `[C]` and the observation of now."""
        ...

    def advance(self, carry: Floats, observation: Floats, action: Floats) -> Floats:
        """`[C]`: the carry after `action` `[D]` was taken on `observation`."""
        ...


class HistoryConfig(ModuleConfig, ABC):
    """Base of history configs."""

    needs: ClassVar[frozenset[Capability]] = frozenset()

    @abstractmethod
    def build(self, observation_dim: int, action_dim: int) -> HistoryModule: ...


class ExplorationConfig(ModuleConfig, ABC):
    """Base of exploration configs; `needs` lists what the learner must be able to do.

    `serves`: the kinds of action that it can explore; for each there is the method that builds it.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset()
    serves: ClassVar[frozenset[Literal["sets", "box"]]] = frozenset({"sets"})
    is_consistent: ClassVar[bool] = False
    """Whether `build` makes a `ConsistentExploration`."""

    def build(self) -> ExplorationModule:
        """For action sets."""
        raise TypeError("it explores no action sets; the configuration check says so first")

    def build_box(self) -> BoxExploration:
        """For continuous actions."""
        raise TypeError("it explores no box; the configuration check says so first")


class SafetyConfig(ModuleConfig, ABC):
    """Base of safety configs. A module may filter, judge risk, or hold a constraint while learning."""

    needs: ClassVar[frozenset[Capability]] = frozenset()

    @property
    def is_learned(self) -> bool:
        """Whether `constrain` adds something that learns, and so to what training has to remember."""
        return False

    def build(self) -> SafetyModule | None:
        """What removes actions; None if nothing does."""
        return None

    def risk(self) -> RiskMeasure | None:
        """What learners of distributions maximize; None is the mean."""
        return None

    def constrain(self, learner: PolicyLearner, spec: ProblemSpec) -> PolicyLearner:
        """The learner under a constraint; the same one if there is none."""
        del spec
        return learner


class ActionRepresentationConfig(ModuleConfig, ABC):
    """Base of action representation configs."""

    needs: ClassVar[frozenset[Capability]] = frozenset()

    @abstractmethod
    def build(self, feature_dim: int) -> ActionRepresentation:
        """For actions with `feature_dim` featurized numbers each (0: ids only)."""

    def embedding(self) -> Embedding | None:
        """The ids that networks embed; None if rows are used as they are."""
        return None


class ReplayConfig(ModuleConfig, ABC):
    """Base of the configs of replays, and of rollouts, whose learners are `on_policy`."""

    needs: ClassVar[frozenset[Capability]] = frozenset({"replay"})

    @property
    @abstractmethod
    def room(self) -> int:
        """How many transitions it can hold."""

    @abstractmethod
    def build(self, spec: ProblemSpec, device: torch.device) -> ReplayBuffer | RolloutBuffer: ...


class PolicyLearnerConfig(ModuleConfig, ABC):
    """Base of learner configs; `capabilities` is what the compatibility check compares."""

    capabilities: ClassVar[frozenset[Capability]]

    @property
    def refresh_period(self) -> int:
        """How often `refresh` is due, in updates; 0 means never."""
        return 0

    @abstractmethod
    def build_policy(self, spec: ProblemSpec) -> ServedPolicy:
        """A fresh policy. Reads torch's global RNG for its initial weights; the caller seeds it."""

    @abstractmethod
    def build_learner(self, policy: Any, spec: ProblemSpec) -> PolicyLearner:
        """The learner of a policy that `build_policy` made for the same `spec`."""
