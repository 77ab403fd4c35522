"""How the loop speaks to what remembers: errors go back to the replay, rollouts are learned once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

import torch

from agent_core.interfaces import (
    Capability,
    PolicyLearnerConfig,
    ReplayConfig,
    SafetyConfig,
    ServedPolicy,
    TrainingState,
    Update,
)
from agent_core.replay.fifo import FifoReplay
from agent_core.replay.packed_rows import PackedRows
from agent_core.training.agent_learner import AgentLearner
from agent_core.training.collate import collate
from agent_core.training.schedule import ScheduleConfig
from agent_core.types import ProblemSpec, Rollout, Transition, TransitionBatch
from tests.support.fixed_policy import FixedPolicy
from tests.support.learners import SPEC, made_up

_CPU = torch.device("cpu")


class _Learner:
    """Reports the rewards of a batch as its errors, and three updates for each rollout."""

    def __init__(self, policy: ServedPolicy) -> None:
        self.policy: ServedPolicy = policy

    def observe(self, new: TransitionBatch) -> None:
        raise AssertionError("it does not say that it observes")

    def update(self, batch: TransitionBatch) -> Update:
        return Update({"size": float(len(batch.reward))}, batch.reward.abs())

    def learn_rollout(self, rollout: Rollout, generator: torch.Generator) -> list[Update]:
        torch.rand((), generator=generator)
        return [Update({"size": float(len(rollout.batch.reward))})] * 3

    def refresh(self, everything: Iterable[TransitionBatch]) -> None:
        del everything

    def training_state(self) -> TrainingState:
        return {}

    def load_training_state(self, state: TrainingState) -> None:
        del state


class _OffPolicyConfig(PolicyLearnerConfig):
    capabilities: ClassVar[frozenset[Capability]] = frozenset({"replay", "sets", "td_error"})
    kind: Literal["off"] = "off"

    def build_policy(self, spec: ProblemSpec) -> FixedPolicy:
        del spec
        return FixedPolicy()

    def build_learner(self, policy: FixedPolicy, spec: ProblemSpec) -> _Learner:
        del spec
        return _Learner(policy)


class _OnPolicyConfig(_OffPolicyConfig):
    capabilities: ClassVar[frozenset[Capability]] = frozenset({"on_policy", "sets"})


class _Attentive(FifoReplay):
    """Keeps what it is told about its batches."""

    told: ClassVar[list[tuple[torch.Tensor, torch.Tensor]]] = []

    def feed_back(self, batch: TransitionBatch, errors: torch.Tensor) -> None:
        self.told.append((batch.row, errors))


class _AttentiveConfig(ReplayConfig):
    room: ClassVar[int] = 8

    def build(self, spec: ProblemSpec, device: torch.device) -> _Attentive:
        return _Attentive(PackedRows(spec, device, capacity=self.room))


class _Pairs:
    """Gives every two transitions as a rollout."""

    def __init__(self) -> None:
        self._held: list[Transition] = []

    def append(self, transition: Transition) -> None:
        self._held.append(transition)

    def take(self) -> Rollout | None:
        if len(self._held) < 2:
            return None
        pair, self._held = self._held, []
        return Rollout(collate(pair, SPEC, _CPU), torch.tensor([0, 2]))

    def __len__(self) -> int:
        return len(self._held)

    def training_state(self) -> TrainingState:
        return {}

    def load_training_state(self, state: TrainingState) -> None:
        del state


class _PairsConfig(ReplayConfig):
    room: ClassVar[int] = 2

    def build(self, spec: ProblemSpec, device: torch.device) -> _Pairs:
        del spec, device
        return _Pairs()


def test_errors_go_back_to_the_replay_with_the_rows_that_they_belong_to() -> None:
    schedule = ScheduleConfig(batch_size=4, warmup_transitions=0)
    learner = AgentLearner(_OffPolicyConfig(), _AttentiveConfig(), schedule, SPEC)
    seen = made_up(3)

    learner.learn(seen)

    rewards = torch.tensor([t.reward for t in seen])
    assert len(_Attentive.told) == 3
    for rows, errors in _Attentive.told:
        torch.testing.assert_close(errors, rewards[rows].abs())


def test_a_rollout_is_learned_as_soon_as_it_is_whole_and_never_again() -> None:
    learner = AgentLearner(_OnPolicyConfig(), _PairsConfig(), ScheduleConfig(), SPEC)

    metrics = learner.learn(made_up(5))
    learner.extra_updates(10)

    assert metrics == {"size": 2.0}
    assert (learner.experience, learner.updates) == (5, 6)


def test_a_constraint_wraps_the_learner() -> None:
    class Wrapped(_Learner):
        pass

    class Constraint(SafetyConfig):
        def constrain(self, learner: object, spec: ProblemSpec) -> Wrapped:
            assert spec is SPEC
            assert isinstance(learner, _Learner)
            return Wrapped(learner.policy)

    learner = AgentLearner(
        _OffPolicyConfig(), _AttentiveConfig(), ScheduleConfig(), SPEC, safety_config=Constraint()
    )

    assert isinstance(learner._learner, Wrapped)
