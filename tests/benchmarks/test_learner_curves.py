from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import msgspec
import pytest
import torch

from benchmarks.learner.curves import (
    ARMS,
    TASKS,
    Comparison,
    Report,
    Run,
    compared,
    main,
    points_of,
    train,
    write,
)
from benchmarks.machine import Machine
from benchmarks.paper import settings
from benchmarks.paper.results import Outcome
from benchmarks.paper.suite import Online, Request
from tests.support.engine import as_it_is

ONLINE = Online(
    partial(gymnasium.make, "CartPole-v1"), ticks=200, swap_steps=10, window=100, every=50
)


@pytest.fixture(autouse=True)
def _compiler_that_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch._inductor, "compile", as_it_is)


@pytest.fixture
def agent() -> dict[str, Any]:
    """The policy of the benchmark with a tiny network, whose target is copied after every block of updates."""
    environment = gymnasium.make("CartPole-v1")
    return settings.value_based(environment, "dqn", hidden=[4], target_period_updates=8)


def plain(agent: dict[str, Any], seed: int = 0) -> Run:
    return train(agent, ONLINE, ARMS["plain"], seed, lambda: None)


# -- training -------------------------------------------------------------------------------------


def test_a_run_has_a_value_at_every_mark_and_says_how_much_it_learned(
    agent: dict[str, Any],
) -> None:
    run = plain(agent)

    # 200 steps, the last of which may not be complete, less 32 to warm up, in blocks of 8
    assert run.outcome.updates in (160, 168)
    assert run.outcome.marks == [50, 100, 150, 200]
    assert len(run.outcome.values) == 4
    assert run.forms == {}


def test_the_same_seed_gives_the_same_curve(agent: dict[str, Any]) -> None:
    assert plain(agent).outcome.values == plain(agent).outcome.values
    assert plain(agent).outcome.values != plain(agent, seed=1).outcome.values


def test_the_arms_differ_in_nothing_but_when_the_engine_looks_for_forms(
    agent: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARMS, "tuned", ARMS["plain"])

    result = compared("CartPole", agent, ONLINE, 2, lambda: None)

    by_arm = {arm: [run.outcome.values for run in runs] for arm, runs in result.runs.items()}
    assert by_arm["plain"] == by_arm["tuned"]
    assert result.bands_overlap_at_the_end


def test_the_tuned_arm_waits_for_what_is_built_and_learns_by_it(
    agent: dict[str, Any],
) -> None:
    ticks: list[None] = []

    result = compared("CartPole", agent, ONLINE, 2, lambda: ticks.append(None))

    assert len(ticks) == 2 * 2 * ONLINE.ticks
    for run in result.runs["tuned"]:
        assert sum(run.forms.values()) == 1
        assert run.waited_s > 0
        assert run.outcome.updates == result.runs["plain"][0].outcome.updates
    assert [point.mark for point in result.points][-1] == ONLINE.ticks


# -- bands ----------------------------------------------------------------------------------------


def outcomes(*seeds: list[float | None]) -> list[Outcome]:
    return [Outcome([10, 20], values) for values in seeds]


def test_bands_of_two_standard_errors_overlap_or_do_not() -> None:
    points = points_of(
        {"plain": outcomes([1.0, 1.0], [3.0, 3.0]), "tuned": outcomes([5.0, 6.0], [7.0, 8.0])}
    )

    # Means 2 and 6, then 2 and 7. Each error is sqrt(2 / (2 - 1)) / sqrt(2) = 1, so bands reach 2 + 2 = 4.
    assert points[0].arms == {
        "plain": {"return": 2.0, "standard_error": 1.0},
        "tuned": {"return": 6.0, "standard_error": 1.0},
    }
    assert [point.bands_overlap for point in points] == [True, False]


def test_a_mark_where_a_seed_has_no_value_is_left_out() -> None:
    points = points_of(
        {"plain": outcomes([1.0, 1.0], [3.0, 3.0]), "tuned": outcomes([None, 1.0], [2.0, 3.0])}
    )

    assert [point.mark for point in points] == [20]


# -- the whole of it ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_an_arm_of_the_papers_benchmark(name: str) -> None:
    task = TASKS[name]

    arms = {arm.name: arm for arm in task.suite.arms(Request(task.steps))}

    assert isinstance(arms[task.arm].measure, Online)
    assert arms[task.arm].measure.ticks == task.steps


def test_the_report_is_written_with_its_curves_and_read_again(
    agent: dict[str, Any], tmp_path: Path
) -> None:
    points = points_of({arm: outcomes([1.0, 2.0], [3.0, 4.0]) for arm in ARMS})
    task = Comparison("CartPole", agent, {arm: [] for arm in ARMS}, points, True)
    machine = Machine("Some CPU", 2, 24.0, "Linux 6", "3.11.7", {"torch": "2.13.0"})
    report = Report(
        "2026-01-31 12:00 UTC", "python -m ...", machine, 2, 2.0, {"one": task, "two": task}
    )

    write(report, tmp_path / "curves.json")

    read = msgspec.json.decode((tmp_path / "curves.json").read_bytes(), type=Report)
    assert read.tasks["one"].points == points
    assert (tmp_path / "curves.png").stat().st_size > 0


def test_a_single_seed_has_no_band(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    with pytest.raises(SystemExit):
        main(["--seeds", "1"])

    assert "2 seeds or more" in capsys.readouterr().err
