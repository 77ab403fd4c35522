"""How the loop speaks to what remembers: errors go back to the replay, rollouts are learned once."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from agent_core.functional.blocks import joined
from agent_core.interfaces import (
    Capability,
    PolicyLearnerConfig,
    ReplayConfig,
    Runner,
    SafetyConfig,
    ServedPolicy,
    TrainingState,
    Update,
)
from agent_core.policy_learners.parts import LearnsInBatches
from agent_core.replay.fifo import FifoReplay
from agent_core.replay.packed_rows import PackedRows
from agent_core.training.agent_learner import AgentLearner
from agent_core.training.collate import collate
from agent_core.training.schedule import ScheduleConfig
from agent_core.types import ProblemSpec, Rollout, TransitionBatch, TransitionBlock
from tests.support.fixed_policy import FixedPolicy
from tests.support.learners import SPEC, made_up

_CPU = torch.device("cpu")


class _Learner(LearnsInBatches):
    """Reports the rewards of a batch as its errors, and three updates for each rollout."""

    def __init__(self, policy: ServedPolicy) -> None:
        super().__init__(None, {})
        self.policy = policy

    def observe(self, new: TransitionBatch) -> None:
        raise AssertionError("it does not say that it observes")

    def update(self, batch: TransitionBatch) -> Update:
        return Update({"size": torch.tensor(len(batch.reward))}, batch.reward.abs())

    def learn_rollout(
        self, rollout: Rollout, generator: torch.Generator, run: Runner
    ) -> list[Update]:
        torch.rand((), generator=generator)
        return run(self.update, rollout.batch, 1) * 3


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
        return _Attentive(PackedRows(spec, capacity=self.room))


class _Pairs:
    """Gives every two transitions as a rollout."""

    def __init__(self) -> None:
        self._held: list[TransitionBlock] = []

    def extend(self, block: TransitionBlock) -> None:
        self._held.append(block)

    def take(self) -> Rollout | None:
        if len(self) < 2:
            return None
        pair, self._held = joined(self._held), []
        return Rollout(collate(pair, SPEC, _CPU), torch.tensor([0, 2]))

    def __len__(self) -> int:
        return sum(map(len, self._held))

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
    schedule = ScheduleConfig(batch_size=4, warmup_transitions=0, updates_at_once=3)
    learner = AgentLearner(_OffPolicyConfig(), _AttentiveConfig(), schedule, SPEC)
    seen = made_up(6)

    learner.learn(seen)

    # Three updates at a time are told of together.
    rewards = torch.tensor([t.reward for t in seen])
    assert len(_Attentive.told) == 2
    for rows, errors in _Attentive.told:
        assert len(rows) == 3 * 4
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
