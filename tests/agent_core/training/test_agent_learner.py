"""The loop that feeds a learner: what is counted, when updates come, when features are refreshed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch

from agent_core.interfaces import (
    Capability,
    Policy,
    PolicyLearner,
    PolicyLearnerConfig,
    Update,
)
from agent_core.policy_learners.bandits.linear import LinearConfig
from agent_core.policy_learners.parts import LearnsInBatches
from agent_core.replay.fifo import FifoConfig
from agent_core.training.agent_learner import AgentLearner
from agent_core.training.schedule import ScheduleConfig
from agent_core.types import ProblemSpec, TransitionBatch
from tests.support.fixed_policy import FixedPolicy
from tests.support.learners import SPEC, fingerprint, made_up


class _Diary(LearnsInBatches):
    """A learner that writes down what it is asked to do. Updates that are odd entries are refused."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(None, {})
        self.policy = policy
        self.entries: list[str] = []

    def observe(self, new: TransitionBatch) -> None:
        self.entries.append(f"observe {len(new.reward)}")

    def update(self, batch: TransitionBatch) -> Update:
        self.entries.append(f"update {len(batch.reward)}")
        number = torch.tensor(float(len(self.entries)))
        return Update({"loss": number, "skipped_non_finite": number % 2})

    def refresh(self, everything: Iterable[TransitionBatch]) -> None:
        self.entries.append(f"refresh {sum(len(batch.reward) for batch in everything)}")


class _DiaryConfig(PolicyLearnerConfig):
    capabilities: ClassVar[frozenset[Capability]] = frozenset({"replay", "sets", "observes"})
    kind: Literal["diary"] = "diary"
    period: int = 0
    written: ClassVar[list[_Diary]] = []

    @property
    def refresh_period(self) -> int:
        return self.period

    def build_policy(self, spec: ProblemSpec) -> Policy:
        del spec
        return FixedPolicy()

    def build_learner(self, policy: Policy, spec: ProblemSpec) -> PolicyLearner:
        del spec
        self.written.append(_Diary(policy))
        return self.written[-1]


def _diary(period: int = 0, **schedule: float) -> tuple[AgentLearner, list[str]]:
    """Its learner makes updates as soon as they are due, if not told otherwise, and its diary."""
    fields = {"batch_size": 4, "warmup_transitions": 0, "updates_at_once": 1} | schedule
    config = ScheduleConfig.model_validate(fields)
    learner = AgentLearner(_DiaryConfig(period=period), FifoConfig(capacity=8), config, SPEC)
    return learner, _DiaryConfig.written[-1].entries


def test_each_transition_is_observed_once_and_then_the_owed_updates_are_made() -> None:
    learner, entries = _diary(updates_per_transition=0.5)

    learner.learn(made_up(4))

    one, update = "observe 1", "update 4"
    assert entries == [one, one, update, one, one, update]
    assert (learner.experience, learner.updates) == (4, 2)


def test_updates_are_made_at_once_when_so_many_are_due() -> None:
    learner, entries = _diary(updates_at_once=3)

    learner.learn(made_up(5))

    one, update = "observe 1", "update 4"
    assert entries == [one, one, one, update, update, update, one, one]


def test_nothing_is_updated_during_warmup() -> None:
    learner, entries = _diary(warmup_transitions=3)

    learner.learn(made_up(4))

    assert entries == ["observe 1"] * 4 + ["update 4"]


def test_a_refresh_sees_everything_remembered_and_comes_at_its_period() -> None:
    _, entries = (made := _diary(period=3))
    learner = made[0]

    learner.learn(made_up(20))

    refreshes = [entry for entry in entries if entry.startswith("refresh")]
    # After 3, 6, 9, ... updates; the replay holds 8.
    assert refreshes == ["refresh 3", "refresh 6"] + ["refresh 8"] * 4


def test_a_refresh_that_falls_due_among_updates_made_at_once_comes_after_them() -> None:
    learner, entries = _diary(period=3, updates_at_once=4)

    learner.learn(made_up(8))

    # The 3rd update is one of the first four, the 6th one of the next.
    made = [entry for entry in entries if entry != "observe 1"]
    assert made == ["update 4"] * 4 + ["refresh 4"] + ["update 4"] * 4 + ["refresh 8"]


def test_extra_updates_come_besides_the_schedule_and_need_something_to_replay() -> None:
    learner, entries = _diary(updates_per_transition=0.0)

    learner.extra_updates(2)
    learner.learn(made_up(1))
    learner.extra_updates(2)

    assert entries == ["observe 1", "update 4", "update 4"]
    assert learner.updates == 2


def test_extra_updates_do_not_delay_scheduled_ones() -> None:
    learner, _ = _diary(updates_per_transition=0.5)

    learner.learn(made_up(1))
    learner.extra_updates(5)
    learner.learn(made_up(1, seed=1))

    assert learner.updates == 6


def test_metrics_are_means_over_the_updates_that_reported_them() -> None:
    learner, _ = _diary()

    metrics = learner.learn(made_up(2))

    # observe, update (2nd entry), observe, update (4th entry): losses 2 and 4.
    assert metrics == {"loss": 3.0, "skipped_non_finite": 0.0}


def test_updates_that_were_refused_are_counted_and_have_no_say_in_other_metrics() -> None:
    learner, _ = _diary(updates_per_transition=2.0)

    metrics = learner.learn(made_up(2))

    # Entries 1 to 6 are observe, update, update, observe, update, update: 3 and 5 are refused.
    assert (learner.updates, learner.skipped_updates) == (4, 2)
    assert metrics == {"loss": (2.0 + 6.0) / 2, "skipped_non_finite": 2 / 4}


def test_counters_survive_a_restart() -> None:
    learner, _ = _diary(updates_per_transition=0.5)
    learner.learn(made_up(3))
    learner.extra_updates(4)
    other, _ = _diary(updates_per_transition=0.5)

    other.load_training_state(learner.training_state())
    other.learn(made_up(1))

    assert (other.experience, other.updates) == (4, 6)
    assert other.skipped_updates >= learner.skipped_updates


def test_a_learner_without_replay_needs_none() -> None:
    learner = AgentLearner(LinearConfig(), None, ScheduleConfig(), SPEC)

    learner.learn(made_up(10))

    assert (learner.experience, learner.updates) == (10, 0)


@pytest.mark.parametrize("where", ["state", "actions", "next_state", "next_actions"])
def test_a_transition_with_nan_anywhere_is_left_out(where: str) -> None:
    learner, entries = _diary()
    bad = made_up(1)[0]
    value = getattr(bad, where)
    table = value if isinstance(value, np.ndarray) else value.features
    table[0] = np.nan

    learner.learn([bad])

    assert entries == []
    assert learner.skipped_transitions == 1


def test_another_seed_draws_other_weights_and_other_batches() -> None:
    one, other = (
        AgentLearner(LinearConfig(), None, ScheduleConfig(seed=seed), SPEC) for seed in (1, 2)
    )

    states = [learner.training_state()["generator"] for learner in (one, other)]

    assert fingerprint({"g": states[0]}) != fingerprint({"g": states[1]})
    assert not torch.equal(*states)
