"""What a learner becomes is a function of the sequence of transitions, not of how it was cut."""

from __future__ import annotations

from typing import Any

import pytest

from agent_core.policy_learners.value_based.dqn import DqnConfig
from agent_core.replay.fifo import FifoConfig
from agent_core.training.agent_learner import AgentLearner
from agent_core.training.collate import block_of
from agent_core.training.schedule import ScheduleConfig
from tests.support.learners import (
    LEARNERS,
    SPEC,
    agent_learner,
    fingerprint,
    made_up,
    spec_of,
)

_COUNT = 45


@pytest.mark.parametrize(
    "config_class", LEARNERS, ids=lambda config: str(config.model_fields["kind"].default)
)
def test_a_block_teaches_what_its_transitions_teach_one_by_one(config_class: type[Any]) -> None:
    config = config_class()
    steps = made_up(_COUNT, spec=spec_of(config))
    by_block, cut, one_by_one = (agent_learner(config) for _ in range(3))

    by_block.learn(block_of(steps, spec_of(config)))
    cut.learn(steps[:17])
    cut.learn(block_of(steps[17:], spec_of(config)))
    for step in steps:
        one_by_one.learn([step])

    expected = fingerprint(one_by_one.training_state())
    assert fingerprint(by_block.training_state()) == expected
    assert fingerprint(cut.training_state()) == expected


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 2.5])
@pytest.mark.parametrize("warmup", [0, 20])
def test_updates_fall_due_at_the_same_transitions_wherever_a_block_begins(
    rate: float, warmup: int
) -> None:
    schedule = ScheduleConfig(batch_size=4, updates_per_transition=rate, warmup_transitions=warmup)
    steps = made_up(_COUNT)
    whole, cut = (
        AgentLearner(DqnConfig(), FifoConfig(capacity=32), schedule, SPEC) for _ in range(2)
    )

    whole.learn(steps)
    for start, stop in ((0, 1), (1, 8), (8, 21), (21, 40), (40, _COUNT)):
        cut.learn(steps[start:stop])

    assert whole.updates == cut.updates == schedule.updates_due(_COUNT)
    assert fingerprint(whole.training_state()) == fingerprint(cut.training_state())
