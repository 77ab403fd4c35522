"""How much a learner takes up in one turn."""

from __future__ import annotations

import pytest

from agent_core.training.schedule import ScheduleConfig
from service.learning.session import entries_of_a_turn


@pytest.mark.parametrize(
    ("updates_per_transition", "entries"),
    [
        (0.0, 1024),  # nothing but storing
        (0.01, 1024),  # 6,400 would bring 64 updates, but a block has an end
        (0.25, 256),
        (1.0, 64),
        (10.0, 6),
        (100.0, 1),  # one entry is the least, whatever it brings
    ],
)
def test_a_turn_brings_about_64_updates_or_a_whole_block(
    updates_per_transition: float, entries: int
) -> None:
    schedule = ScheduleConfig(updates_per_transition=updates_per_transition)

    assert entries_of_a_turn(schedule) == entries
