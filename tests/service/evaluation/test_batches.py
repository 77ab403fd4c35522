"""A log is cut into whole episodes, and what cannot be cut is told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from agent_core.types import ActionSet
from service.decisions.repository import EpisodePlace
from service.evaluation.batches import Batch, Log, Refusals
from service.evaluation.steps import LoggedStep
from tests.service.evaluation.logs import Memory, but, clicks, steers, walks

_DAY_MS = 86_400_000


def _cut(
    steps: Sequence[LoggedStep], size: int = 4, *, by_episode: bool = True
) -> tuple[list[Batch], Refusals]:
    refusals = Refusals()
    batches = list(Log(Memory(steps), size).batches(by_episode=by_episode, refusals=refusals))
    return batches, refusals


def _names(batches: list[Batch]) -> list[list[list[str]]]:
    return [[[step.decision_id for step in unit] for unit in batch.units] for batch in batches]


def test_decisions_are_units_of_their_own() -> None:
    batches, _ = _cut(clicks(5, np.ones(3) / 3), size=2, by_episode=False)

    assert _names(batches) == [[["d0"], ["d1"]], [["d2"], ["d3"]], [["d4"]]]
    assert [batch.number for batch in batches] == [0, 1, 2]
    assert [batch.read for batch in batches] == [2, 4, 5]


def test_an_episode_is_in_one_batch_and_in_order_however_its_steps_come() -> None:
    first, second = walks(2, np.full(2, 0.5))[:3], walks(2, np.full(2, 0.5))[3:]

    batches, refusals = _cut(
        [second[2], first[0], second[0], first[2], first[1], second[1]], size=3
    )

    assert _names(batches) == [[["e0-0", "e0-1", "e0-2"]], [["e1-0", "e1-1", "e1-2"]]]
    assert not refusals.rows


def test_an_episode_that_does_not_end_comes_at_the_end_of_the_log() -> None:
    steps = walks(2, np.full(2, 0.5))
    open_ended = [but(step, is_terminated=False) for step in steps[:3]]

    batches, _ = _cut([*open_ended, *steps[3:]], size=100)

    assert _names(batches) == [[["e1-0", "e1-1", "e1-2"], ["e0-0", "e0-1", "e0-2"]]]


def test_an_episode_without_a_step_for_a_day_is_over() -> None:
    steps = walks(2, np.full(2, 0.5))
    later = [but(step, at_ms=step.at_ms + _DAY_MS) for step in steps[3:]]

    batches, _ = _cut([*steps[:2], *later], size=1)

    assert _names(batches) == [[["e0-0", "e0-1"]], [["e1-0", "e1-1", "e1-2"]]]


@pytest.mark.parametrize(
    ("kept", "problem"), [((0, 2), "step 1 is missing"), ((1, 2), "step 0 is missing")]
)
def test_an_episode_with_a_gap_is_left_out_as_a_whole(kept: tuple[int, int], problem: str) -> None:
    steps = walks(2, np.full(2, 0.5))

    batches, refusals = _cut([steps[i] for i in kept] + steps[3:])

    assert _names(batches) == [[["e1-0", "e1-1", "e1-2"]]]
    assert problem in refusals.rows[0].why
    assert "episode e0" in refusals.rows[0].row
    assert refusals.counts == {"incomplete_episode": 2}


def test_a_step_that_is_twice_in_the_log_spoils_its_episode() -> None:
    steps = walks(1, np.full(2, 0.5))

    _, refusals = _cut([steps[0], steps[0], steps[1], steps[2]])

    assert "step 0 is twice" in refusals.rows[0].why


def test_a_decision_outside_of_any_episode_is_one_of_one_step() -> None:
    steps = walks(1, np.full(2, 0.5))
    alone = but(steps[0], place=None, decision_id="alone")

    batches, _ = _cut([*steps, alone])

    assert _names(batches) == [[["e0-0", "e0-1", "e0-2"], ["alone"]]]


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        (
            but(clicks(1, np.ones(3) / 3)[0], state=np.zeros(5, np.float32)),
            "its state has 5 numbers",
        ),
        (
            but(
                clicks(1, np.ones(3) / 3)[0],
                actions=ActionSet(("a",), np.zeros((1, 7), np.float32)),
                action=0,
            ),
            "each of its actions has 7 numbers",
        ),
        (steers(1, np.zeros(1))[0], "another kind of action"),
    ],
)
def test_a_row_unlike_the_first_is_left_out(other: LoggedStep, problem: str) -> None:
    batches, refusals = _cut([*clicks(2, np.ones(3) / 3), other], by_episode=False)

    assert _names(batches) == [[["d0"], ["d1"]]]
    assert problem in refusals.rows[0].why
    assert refusals.counts == {"unlike_the_others": 1}


def test_only_the_first_hundred_refusals_are_kept_and_all_are_counted() -> None:
    refusals, more = Refusals(), Refusals()
    for i in range(80):
        refusals.add(f"row {i}", "why", "reason")
        more.add(f"row {100 + i}", "why", "reason")

    refusals.extend(more)

    assert (len(refusals.rows), refusals.counts["reason"]) == (100, 160)
    assert refusals.rows[80].row == "row 100"


def test_places_are_part_of_episodes() -> None:
    step = but(clicks(1, np.ones(3) / 3)[0], place=EpisodePlace("e", 0), is_terminated=True)

    batches, _ = _cut([step])

    assert len(batches[0].units) == 1
