"""When updates are due."""

from __future__ import annotations

import pytest

from agent_core.training.schedule import ScheduleConfig


@pytest.mark.parametrize(
    ("rate", "warmup", "experience", "due"),
    [
        (1.0, 0, 7, 7),
        (0.25, 0, 7, 1),  # 1.75
        (0.25, 0, 8, 2),
        (2.5, 0, 3, 7),  # 7.5
        (1.0, 100, 100, 0),
        (1.0, 100, 103, 3),
        (0.0, 0, 1000, 0),
        (0.1, 0, 30, 3),  # although 30 * 0.1 is 3.0000000000000004 and 3 * 0.1 * 10 is not
        (0.7, 0, 10, 7),
    ],
)
def test_updates_due_are_the_whole_part_of_what_was_counted(
    rate: float, warmup: int, experience: int, due: int
) -> None:
    schedule = ScheduleConfig(
        updates_per_transition=rate, warmup_transitions=warmup, updates_at_once=1
    )

    assert schedule.updates_due(experience) == due


@pytest.mark.parametrize(("experience", "due"), [(7, 0), (8, 8), (15, 8), (16, 16)])
def test_updates_are_due_in_portions(experience: int, due: int) -> None:
    schedule = ScheduleConfig(warmup_transitions=0, updates_at_once=8)

    assert schedule.updates_due(experience) == due
