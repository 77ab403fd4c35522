"""`python -m benchmarks.evaluation [--quick] [--json FILE]`; the data set is read from NACRE_DATA."""

from __future__ import annotations

import os
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from benchmarks.evaluation import report as told
from benchmarks.evaluation.open_bandit import Run, runs
from benchmarks.evaluation.workers import timings
from benchmarks.machine import describe_machine
from benchmarks.tables import print_table, quick_options

_HERE: Final = Path(__file__).parent
_PACKAGES: Final = ("numpy", "torch", "ray")


def main() -> int:
    options = quick_options("evaluation", "a smaller log")
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
        print_table(console, told.title(run), told.RUN_COLUMNS, told.run_rows(run))
        console.print(told.facts(run))
    if report.headline is not None:
        console.print(report.headline)
    print_table(console, "workers", told.TIMING_COLUMNS, told.timing_rows(report.timings))


if __name__ == "__main__":
    raise SystemExit(main())
