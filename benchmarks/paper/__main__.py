"""`python -m benchmarks.paper [--only NAME] [--seeds N] [--steps N] [--data FILE.npz] [--json FILE] [--resume]`.

Every seed of every arm is written as soon as it is measured; `--resume` goes on from there.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.machine import describe_machine
from benchmarks.paper import report
from benchmarks.paper.results import Outcome, SuiteResult
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
        path = options.json or report.RESULTS / f"{name}.json"
        known = report.read(path) if options.resume and path.exists() else None
        with _progress(console) as bar:
            for result in run(
                SUITES[name], options.seeds, request, _command(arguments), bar, known
            ):
                report.write(result, path)
        _tell(result, console)
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
    parser.add_argument(
        "--resume", action="store_true", help="keep what was measured with the same settings"
    )
    options = parser.parse_args(arguments)
    if options.json is not None and len(options.only or SUITES) != 1:
        parser.error("--json takes the result of one suite; name it with --only")
    return options


def _command(arguments: Sequence[str] | None) -> str:
    asked = sys.argv[1:] if arguments is None else arguments
    return f"make bench-paper ARGS={shlex.quote(shlex.join(asked))}"


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description:40}"), BarColumn())
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)


def run(
    suite: Suite,
    seeds: int,
    request: Request,
    command: str,
    bar: Progress,
    known: SuiteResult | None = None,
) -> Iterator[SuiteResult]:
    """Measures every arm that can be run, all arms with one seed before the next, and judges.

    Yields what is known so far: at first that of `known` which was measured with the same settings, then after
    every seed of every arm.
    """
    arms = suite.arms(request)
    unavailable = {arm.name: reason for arm in arms if (reason := arm.measure.why_not(arm.agent))}
    missing = [arm for arm in arms if arm.name not in unavailable]
    outcomes = {arm.name: _kept(arm, known) for arm in missing}
    yield _result(suite, command, arms, unavailable, outcomes)
    task = bar.add_task(suite.name, total=seeds * sum(arm.measure.ticks for arm in missing))
    for seed, arm in itertools.product(range(seeds), missing):
        bar.update(task, description=f"{arm.name}, seed {seed}")
        if seed < len(outcomes[arm.name]):
            bar.advance(task, arm.measure.ticks)
            continue
        outcomes[arm.name].append(arm.measure(arm.agent, seed, lambda: bar.advance(task)))
        yield _result(suite, command, arms, unavailable, outcomes)


def _kept(arm: Arm, known: SuiteResult | None) -> list[Outcome]:
    """What is known of an arm with the very same settings."""
    if known is None or known.policies.get(arm.name) != msgspec.to_builtins(arm.agent):
        return []
    is_as_long = known.ticks.get(arm.name) == arm.measure.ticks
    return list(known.outcomes.get(arm.name, [])) if is_as_long else []


def _result(
    suite: Suite,
    command: str,
    arms: Sequence[Arm],
    unavailable: dict[str, str],
    outcomes: dict[str, list[Outcome]],
) -> SuiteResult:
    measured = {arm: found for arm, found in outcomes.items() if found}
    return SuiteResult(
        suite=suite.name,
        title=suite.title,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=command,
        machine=describe_machine(_PACKAGES),
        headline=suite.judged(measured),
        unavailable=unavailable,
        ticks={arm.name: arm.measure.ticks for arm in arms},
        policies={arm.name: arm.agent for arm in arms},
        outcomes=measured,
    )


def _tell(result: SuiteResult, console: Console) -> None:
    table = Table(title=f"{result.title}: {result.told_seeds}, {result.seconds:.0f} s")
    for column in report.COLUMNS:
        table.add_column(column)
    for row in report.rows(result):
        table.add_row(*row)
    console.print(table)
    for arm, reason in result.unavailable.items():
        console.print(f"{arm}: {reason}", markup=False)


if __name__ == "__main__":
    raise SystemExit(main())
