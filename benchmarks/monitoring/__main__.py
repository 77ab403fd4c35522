"""`python -m benchmarks.monitoring [--quick] [--json FILE]`. Letters are read from $NACRE_DATA/uci_letter/letter.npz."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.machine import describe_machine
from benchmarks.monitoring import letter
from benchmarks.monitoring import report as told
from benchmarks.monitoring.canary import CASES, canary_table, steps_table
from benchmarks.monitoring.fallback import RATES, estimated_table, fallback_table
from benchmarks.tables import print_table, quick_options

_HERE: Final = Path(__file__).parent
_PACKAGES: Final = ("numpy", "scipy", "river", "matplotlib")


@dataclass(frozen=True, slots=True)
class Size:
    """Simulated rollouts, simulated policies that are watched, and letters."""

    rollouts: int
    policies: int
    letters: letter.Size


QUICK: Final = Size(rollouts=100, policies=50, letters=letter.Size(2, 10, 199))
FULL: Final = Size(rollouts=2_000, policies=2_000, letters=letter.Size(10, 20, 999))


def main() -> int:
    options = quick_options("monitoring", "within a minute")
    console = Console(width=None if sys.stdout.isatty() else 180)
    report = _run(QUICK if options.quick else FULL, console)
    _print(report, console)
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    if not options.quick:
        told.plot(report, _HERE / "results.png")
        (_HERE / "RESULTS.md").write_text(told.markdown(report), "utf-8")
    return 0


def _run(size: Size, console: Console) -> told.Report:
    columns = (TextColumn("{task.description:56}"), BarColumn(), TimeElapsedColumn())
    letters = letter.load()
    with Progress(*columns, console=console) as bar:
        total = len(CASES) + 1 + 2 * len(RATES) + (size.letters.references if letters else 0)
        task = bar.add_task("canary", total=total)

        def tick(title: str) -> None:
            bar.update(task, description=title, advance=1)

        canary, steps = canary_table(size.rollouts, tick), steps_table(size.rollouts, tick)
        fallback = fallback_table(size.policies, tick)
        estimated = estimated_table(size.policies, tick)
        drift = letter.letter_table(letters, size.letters, tick) if letters else None
    return told.Report(
        command=shlex.join(["python", "-m", "benchmarks.monitoring", *sys.argv[1:]]),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=describe_machine(_PACKAGES),
        headline=told.headline(canary, steps, fallback, estimated, drift),
        tables=[table for table in (canary, steps, fallback, estimated, drift) if table],
    )


def _print(report: told.Report, console: Console) -> None:
    print_table(console, "headline", told.HEADLINE_COLUMNS, told.headline_rows(report))
    for table in report.tables:
        print_table(console, table.title, told.columns_of(table), told.rows_of(table))


if __name__ == "__main__":
    raise SystemExit(main())
