"""`python -m benchmarks.evaluation [--quick] [--json FILE]`; the data set is read from NACRE_DATA."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.evaluation import report as told
from benchmarks.evaluation.open_bandit import Run, runs
from benchmarks.evaluation.workers import timings
from benchmarks.machine import describe_machine

_HERE: Final = Path(__file__).parent
_PACKAGES: Final = ("numpy", "torch", "ray")


def main() -> int:
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else 130)
    found, missing = _open_bandit()
    report = told.Report(
        command=shlex.join(["python", "-m", "benchmarks.evaluation", *sys.argv[1:]]),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=describe_machine(_PACKAGES),
        headline=told.headline(found) if found else None,
        missing=missing,
        runs=found,
        timings=timings(5_000 if options.quick else 30_000),
    )
    _print(report, console)
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    if not options.quick:
        (_HERE / "RESULTS.md").write_text(told.markdown(report), "utf-8")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smaller log; keeps RESULTS.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number to FILE")
    return parser.parse_args()


def _open_bandit() -> tuple[list[Run], str]:
    """The runs, or why there are none."""
    data = Path(os.environ.get("NACRE_DATA", "data"))
    try:
        return list(runs(data)), ""
    except OSError as error:
        return (
            [],
            f"The Open Bandit data are not at hand ({error}); set NACRE_DATA to their folder.",
        )


def _print(report: told.Report, console: Console) -> None:
    if report.missing:
        console.print(report.missing, style="bold red")
    for run in report.runs:
        _print_table(console, told.title(run), told.RUN_COLUMNS, told.run_rows(run))
        console.print(told.facts(run))
    if report.headline is not None:
        console.print(report.headline)
    _print_table(console, "workers", told.TIMING_COLUMNS, told.timing_rows(report.timings))


def _print_table(
    console: Console, title: str, columns: Sequence[str], lines: Sequence[Sequence[str]]
) -> None:
    table = Table(title=title)
    for at, column in enumerate(columns):
        table.add_column(column, justify="left" if at == 0 else "right")
    for line in lines:
        table.add_row(*line)
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(main())
