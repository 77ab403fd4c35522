"""`python -m benchmarks.learner.curves [--only TASK] [--seeds N] [--steps N] [--json FILE]`.

Whether speed costs learning: the same policies with the update engine and without it, their curves side by side.
Policies, environments and the loop are those of benchmarks/paper. Both arms of a seed start with the same
weights and the same episode, and differ by rounding alone; in an environment that is enough to part them soon. So
what is compared is not curves but bands of curves.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.machine import Machine, describe_machine
from benchmarks.paper.loop import Session
from benchmarks.paper.results import Measured, Outcome, averages, marks_of, over_seeds
from benchmarks.paper.suite import Online, Request, Suite, Tick, parsed
from benchmarks.paper.suites import cartpole, control

_FILE: Final = Path(__file__).with_suffix(".json")
_PACKAGES: Final = ("torch", "numpy", "gymnasium", "mujoco")
_WIDTH_IN_FILES: Final = 150
_PANEL_INCHES: Final = (6.0, 4.5)

ARMS: Final = {"plain": 10**18, "tuned": 0}
"""`tune_after_updates` of each: never reached, and at once."""
BAND: Final = 2.0
"""Standard errors to both sides. With one, bands of three seeds of the very same learner are apart at 26 of 100
marks, with two at 6 (normal returns, 200,000 pairs of bands drawn)."""


class Run(msgspec.Struct, frozen=True):
    """One seed of one arm. `outcome`: its seconds are without `waited_s`, those for the compiler. `forms`: how many
    kinds of blocks of updates are made in which form, after a first one that is plain; empty if all are plain."""

    outcome: Outcome
    forms: dict[str, int]
    waited_s: float


class Point(msgspec.Struct, frozen=True):
    """A mark, in environment steps. `arms`: the mean return over the seeds, and its standard error, of each."""

    mark: int
    arms: dict[str, dict[str, float]]
    bands_overlap: bool


class Comparison(msgspec.Struct, frozen=True):
    """One task. `policy`: its agent section, but for `tune_after_updates`. `runs`: by arm, seed after seed.
    `points`: where every seed has a value. `bands_overlap_at_the_end`: at the last point; None without one."""

    title: str
    policy: dict[str, Any]
    runs: dict[str, list[Run]]
    points: list[Point]
    bands_overlap_at_the_end: bool | None


class Report(msgspec.Struct, frozen=True):
    """One run of this benchmark."""

    date: str
    command: str
    machine: Machine
    seeds: int
    band_standard_errors: float
    tasks: dict[str, Comparison]


class Task(NamedTuple):
    """`arm`: of `suite`, for so many `steps`."""

    title: str
    suite: Suite
    arm: str
    steps: int


TASKS: Final = {
    "cartpole": Task("CartPole-v1, DQN", cartpole.SUITE, "DQN", 30_000),
    "halfcheetah": Task("HalfCheetah-v5, SAC", control.SUITE, "HalfCheetah-v5: sac", 50_000),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, writes and tells; 1 when bands are apart at the end."""
    options = _options(arguments)
    # The networks are small: a second thread costs more in waiting than it computes.
    torch.set_num_threads(1)
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_IN_FILES)
    columns = (TextColumn("{task.description:30}"), BarColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
        names = options.only or TASKS
        tasks = {name: _compared(TASKS[name], options.seeds, options.steps, bar) for name in names}
    report = Report(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=_command(arguments),
        machine=describe_machine(_PACKAGES),
        seeds=options.seeds,
        band_standard_errors=BAND,
        tasks=tasks,
    )
    write(report, options.json)
    _tell(report, console)
    return 1 if any(one.bands_overlap_at_the_end is False for one in tasks.values()) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learner.curves")
    parser.add_argument("--only", action="append", choices=list(TASKS), help="this task; all")
    parser.add_argument("--seeds", type=int, default=3, help="how many, at least 2; 3")
    parser.add_argument(
        "--steps", type=int, help="of every run, in place of each task's own number"
    )
    parser.add_argument("--json", type=Path, default=_FILE, metavar="FILE", help="and a PNG beside")
    options = parser.parse_args(arguments)
    if options.seeds < 2:
        parser.error("a band needs 2 seeds or more")
    # torch.set_num_threads holds for one thread, and the update engine tries its forms in another.
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("set OMP_NUM_THREADS=1")
    return options


def _command(arguments: Sequence[str] | None) -> str:
    asked = sys.argv[1:] if arguments is None else arguments
    return f"OMP_NUM_THREADS=1 {shlex.join(['python', '-m', 'benchmarks.learner.curves', *asked])}"


def _compared(task: Task, seeds: int, steps: int | None, bar: Progress) -> Comparison:
    arms = {arm.name: arm for arm in task.suite.arms(Request(steps or task.steps))}
    _, agent, online = arms[task.arm]
    assert isinstance(online, Online)
    shown = bar.add_task(task.title, total=len(ARMS) * seeds * online.ticks)
    return compared(task.title, agent, online, seeds, lambda: bar.advance(shown))


def compared(
    title: str, agent: Mapping[str, Any], online: Online, seeds: int, tick: Tick
) -> Comparison:
    """Both arms of one policy. They take turns, so that all of what the machine does meanwhile happens to both."""
    runs: dict[str, list[Run]] = {arm: [] for arm in ARMS}
    for seed in range(seeds):
        for arm, threshold in ARMS.items():
            runs[arm].append(train(agent, online, threshold, seed, tick))
    points = points_of({arm: [one.outcome for one in found] for arm, found in runs.items()})
    at_the_end = points[-1].bands_overlap if points else None
    return Comparison(title, dict(agent), runs, points, at_the_end)


def train(
    agent: Mapping[str, Any], online: Online, tune_after_updates: int, seed: int, tick: Tick
) -> Run:
    """Plays and learns as `online` does, but waits for every form that the engine begins to build."""
    started_s, waited_s = time.perf_counter(), 0.0
    schedule = {**agent["schedule"], "tune_after_updates": tune_after_updates}
    config = parsed({**agent, "schedule": schedule})
    session = Session(config, online.environment(), seed=seed, swap_steps=online.swap_steps)
    engine = session.learner._engine  # nobody but a measurement has a reason to wait for it
    for _ in range(online.ticks):
        session.step()
        before_s = time.perf_counter()
        engine.settle()
        waited_s += time.perf_counter() - before_s
        tick()
    forms = Counter(form.name for form in engine.settle().values())
    seconds = time.perf_counter() - started_s - waited_s
    return Run(_outcome(session, online, seconds), dict(forms), round(waited_s, 1))


def _outcome(session: Session, online: Online, seconds: float) -> Outcome:
    learner, marks = session.learner, marks_of(online.ticks, online.every)
    return Outcome(
        marks,
        averages(session.episodes, marks, online.window),
        updates=learner.updates,
        skipped=learner.skipped_transitions + learner.skipped_updates,
        seconds=round(seconds, 1),
    )


def points_of(outcomes: Mapping[str, Sequence[Outcome]]) -> list[Point]:
    """The marks where every seed of both arms has a value."""
    measured, points = Measured(outcomes), []
    for mark in outcomes["plain"][0].marks:
        found = {arm: measured.at(arm, mark) for arm in ARMS}
        if not np.isnan(list(found.values())).any():
            arms = {arm: over_seeds("return", values) for arm, values in found.items()}
            points.append(Point(mark, arms, _overlap(arms["plain"], arms["tuned"])))
    return points


def _overlap(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    reach = BAND * (one["standard_error"] + other["standard_error"])
    return abs(one["return"] - other["return"]) <= reach


def write(report: Report, path: Path) -> None:
    """The report as JSON, and its curves beside it."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    _draw(report, path.with_suffix(".png"))


def _draw(report: Report, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    width, height = _PANEL_INCHES
    count = len(report.tasks)
    figure, grid = plt.subplots(
        1, count, figsize=(width * count, height), layout="constrained", squeeze=False
    )
    for axes, task in zip(grid[0], report.tasks.values(), strict=True):
        _draw_bands(axes, task)
    lines, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=len(ARMS))
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_bands(axes: Any, task: Comparison) -> None:
    """The mean of each arm, and its band."""
    marks = [point.mark for point in task.points]
    for arm in ARMS:
        centre = np.array([point.arms[arm]["return"] for point in task.points])
        reach = BAND * np.array([point.arms[arm]["standard_error"] for point in task.points])
        axes.plot(marks, centre, label=arm)
        axes.fill_between(marks, centre - reach, centre + reach, alpha=0.2)
    axes.set(xlabel="environment steps", ylabel="return", title=task.title)


def _tell(report: Report, console: Console) -> None:
    table = Table(title=f"{report.seeds} seeds, at the end")
    for column in ("task", "arm", "return", "standard error", "bands overlap", "forms"):
        table.add_column(column)
    for task in report.tasks.values():
        for arm, runs in task.runs.items() if task.points else ():
            last = task.points[-1]
            numbers = [f"{number:.1f}" for number in last.arms[arm].values()]
            forms = ", ".join(sorted({form for run in runs for form in run.forms}))
            table.add_row(task.title, arm, *numbers, str(last.bands_overlap), forms)
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(main())
