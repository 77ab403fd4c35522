"""`python -m benchmarks.learner [--quick] [--only NAME] [--json FILE]`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.learner import report as told
from benchmarks.learner.cases import CASES, Case
from benchmarks.learner.contestant import Contestant, NotMeasuredError
from benchmarks.learner.timing import window
from benchmarks.machine import describe_machine
from benchmarks.tables import print_table

_HERE: Final = Path(__file__).parent
_WIDTH_IN_FILES: Final = 150
_PACKAGES: Final = ("torch", "numpy", "stable_baselines3", "tianshou", "torchrl", "tensordict")


@dataclass(frozen=True, slots=True)
class Size:
    """How long it takes: windows of each contestant, and the length of one."""

    rounds: int
    window_s: float


QUICK: Final = Size(rounds=5, window_s=0.1)
FULL: Final = Size(rounds=25, window_s=0.3)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, writes and tells; 1 when a goal is missed."""
    options = _options(arguments)
    # The networks are small: a second thread costs more in waiting than it computes.
    torch.set_num_threads(1)
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_IN_FILES)
    size = QUICK if options.quick else FULL
    measured = run(_chosen(options), size, console)
    report = told.make_report(
        measured,
        command=_command(arguments),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=describe_machine(_PACKAGES),
        rounds=size.rounds,
        window_s=size.window_s,
    )
    _print(report, console)
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    if not options.quick and not options.only:
        (_HERE / "RESULTS.md").write_text(told.markdown(report), "utf-8")
    return 1 if report.below_goal else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learner", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the headline alone, in five minutes")
    parser.add_argument("--only", action="append", choices=list(CASES), help="this case; all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number to FILE")
    options = parser.parse_args(arguments)
    # torch.set_num_threads holds for one thread, and the update engine tries its forms in another.
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("set OMP_NUM_THREADS=1, as `make bench-learner` does")
    return options


def _chosen(options: argparse.Namespace) -> dict[str, Case]:
    names = options.only or [
        name for name, case in CASES.items() if case.is_quick or not options.quick
    ]
    return {name: CASES[name] for name in names}


def _command(arguments: Sequence[str] | None) -> str:
    asked = sys.argv[1:] if arguments is None else arguments
    return f"make bench-learner ARGS={shlex.quote(shlex.join(asked))}"


def run(cases: Mapping[str, Case], size: Size, console: Console) -> dict[str, told.Measured]:
    """Measures case by case; the contestants of a case take turns."""
    columns = (TextColumn("{task.description:60}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        return {name: _measured(case, size, bar) for name, case in cases.items()}


def _measured(case: Case, size: Size, bar: Progress) -> told.Measured:
    steps = len(case.contestants) * (1 + size.rounds)
    task = bar.add_task(f"{case.title}: building", total=steps)
    built: dict[str, Contestant] = {}
    not_measured: dict[str, str] = {}
    for name, build in case.contestants.items():
        try:
            built[name] = build()
        except NotMeasuredError as error:
            not_measured[name] = str(error)
        bar.advance(task)
    bar.update(task, description=case.title)
    us: dict[str, list[float]] = {name: [] for name in built}
    for _ in range(size.rounds):
        for name, contestant in built.items():
            us[name].append(window(contestant, size.window_s))
            bar.advance(task)
    forms = {name: one.form for name, one in built.items() if one.form}
    return told.Measured(us, forms, not_measured)


def _print(report: told.Report, console: Console) -> None:
    for name, case in report.cases.items():
        print_table(console, CASES[name].title, told.COLUMNS, told.rows(case))
        for who, why in case.not_measured.items():
            console.print(f"{who}: {why}", markup=False)
    print_table(console, "headline", told.HEADLINE_COLUMNS, told.headline_rows(report))


if __name__ == "__main__":
    raise SystemExit(main())
