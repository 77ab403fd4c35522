"""The report: a table to read, a file to parse, a picture, and promises that decide the exit code."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

from rich.console import Console

from service.demo.chart import Chart, Line
from service.demo.report import Promise, Report

CHART = Chart("title", "x", "y", [Line("a", [1, 2], [0.1, 0.2]), Line("b", [1], [1.0], "points")])


def report(*promises: Promise) -> Report:
    return Report(
        title="nacre demo: a test",
        headline={"swaps": 3, "lag_median_s": None},
        rows=[("model swaps", "3 [of them]")],
        promises=promises,
        details={"seed": 0},
        chart=CHART,
    )


def test_one_broken_promise_breaks_the_report() -> None:
    kept, broken = Promise("a", is_kept=True), Promise("b", is_kept=False)

    assert report(kept).is_kept
    assert not report(kept, broken).is_kept


def test_what_is_shown_names_every_number_and_every_promise() -> None:
    console = Console(file=StringIO(), width=100)

    report(Promise("nothing is lost", is_kept=False)).show(console, Path("demo.png"))

    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue()
    assert "3 [of them]" in shown
    assert "BROKEN nothing is lost" in shown
    assert "demo.png" in shown


def test_the_file_holds_the_headline_the_promises_and_the_rest(tmp_path: Path) -> None:
    report(Promise("nothing is lost", is_kept=True)).write(tmp_path / "new" / "demo.json")

    written = json.loads((tmp_path / "new" / "demo.json").read_text())
    assert written["headline"] == {"swaps": 3, "lag_median_s": None}
    assert written["promises"] == [{"statement": "nothing is lost", "kept": True}]
    assert written["seed"] == 0


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    CHART.draw(tmp_path / "new" / "demo.png")

    assert (tmp_path / "new" / "demo.png").read_bytes().startswith(b"\x89PNG")
