"""`python -m benchmarks.paper [--only NAME] [--seeds N] [--steps N] [--data FILE.npz] [--json FILE]`."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.machine import describe_machine
from benchmarks.paper import report
from benchmarks.paper.results import Measured, Outcome, SuiteResult
from benchmarks.paper.suite import Arm, Request, Suite
from benchmarks.paper.suites import SUITES

_WIDTH_IN_FILES: Final = 150
_PACKAGES: Final = ("torch", "numpy", "gymnasium", "mujoco", "stable_baselines3")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs, writes and tells; 1 when a claim does not hold."""
    options = _options(arguments)
    # The networks are small: a second thread costs more in waiting than it computes.
    torch.set_num_threads(1)
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_IN_FILES)
    request = Request(options.steps, tuple(options.data))
    results = []
    for name in options.only or SUITES:
        result = run(SUITES[name], options.seeds, request, console, _command(arguments))
        _tell(result, console)
        report.write(result, options.json or report.RESULTS / f"{name}.json")
        results.append(result)
    if options.json is None:
        report.write_page()
    claims = [finding for result in results for finding in result.headline.values()]
    return 1 if any(finding.holds is False for finding in claims) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper", description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(SUITES), help="this suite; all")
    parser.add_argument("--seeds", type=int, default=5, help="how many; 5")
    parser.add_argument(
        "--steps", type=int, help="of every arm, in place of each suite's own number"
    )
    parser.add_argument(
        "--data",
        type=Path,
        action="append",
        default=[],
        metavar="FILE.npz",
        help="X and y of a table",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write there, not to results/")
    options = parser.parse_args(arguments)
    if options.json is not None and len(options.only or SUITES) != 1:
        parser.error("--json takes the result of one suite; name it with --only")
    return options


def _command(arguments: Sequence[str] | None) -> str:
    asked = sys.argv[1:] if arguments is None else arguments
    return f"make bench-paper ARGS={shlex.quote(shlex.join(asked))}"


def run(suite: Suite, seeds: int, request: Request, console: Console, command: str) -> SuiteResult:
    """Measures every arm that can be run, seed by seed, and judges."""
    started_s = time.perf_counter()
    arms = suite.arms(request)
    unavailable = {arm.name: reason for arm in arms if (reason := arm.measure.why_not(arm.agent))}
    columns = (TextColumn("{task.description:40}"), BarColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
        outcomes = {
            arm.name: _measure(suite, arm, seeds, bar)
            for arm in arms
            if arm.name not in unavailable
        }
    return SuiteResult(
        suite=suite.name,
        title=suite.title,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=command,
        machine=describe_machine(_PACKAGES),
        seconds=round(time.perf_counter() - started_s, 1),
        seeds=seeds,
        headline=suite.judge(Measured(outcomes)),
        unavailable=unavailable,
        policies={arm.name: arm.agent for arm in arms},
        outcomes=outcomes,
    )


def _measure(suite: Suite, arm: Arm, seeds: int, bar: Progress) -> list[Outcome]:
    task = bar.add_task(f"{suite.name}: {arm.name}", total=seeds * arm.measure.ticks)
    return [arm.measure(arm.agent, seed, lambda: bar.advance(task)) for seed in range(seeds)]


def _tell(result: SuiteResult, console: Console) -> None:
    table = Table(title=f"{result.title}: {result.seeds} seeds, {result.seconds:.0f} s")
    for column in report.COLUMNS:
        table.add_column(column)
    for row in report.rows(result):
        table.add_row(*row)
    console.print(table)
    for arm, reason in result.unavailable.items():
        console.print(f"{arm}: {reason}", markup=False)


if __name__ == "__main__":
    raise SystemExit(main())
