"""What a demo ends with: a table, a picture, a file, and whether it kept its promises."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.demo.chart import Chart
from service.version import __version__


@dataclass(frozen=True, slots=True)
class Promise:
    """What the demo claims, and whether this run kept it."""

    statement: str
    is_kept: bool


@dataclass(frozen=True, slots=True)
class Report:
    """`headline`: the numbers that matter. `rows`: the table. `details`: everything else."""

    title: str
    headline: Mapping[str, Any]
    rows: Sequence[tuple[str, str]]
    promises: Sequence[Promise]
    details: Mapping[str, Any]
    chart: Chart

    @property
    def is_kept(self) -> bool:
        """Whether every promise was kept."""
        return all(promise.is_kept for promise in self.promises)

    def show(self, console: Console, plot: Path) -> None:
        """Prints the table and the promises."""
        table = Table(title=self.title, show_header=False, title_justify="left")
        for name, value in self.rows:
            table.add_row(escape(name), escape(value))
        console.print(table)
        for promise in self.promises:
            sign = "[green]kept[/]  " if promise.is_kept else "[red]BROKEN[/]"
            console.print(f"{sign} {escape(promise.statement)}")
        console.print(f"picture: {plot}", markup=False)

    def write(self, path: Path) -> None:
        """Writes all of it as JSON."""
        document = {
            "demo": self.title,
            "version": __version__,
            "headline": dict(self.headline),
            "promises": [
                {"statement": promise.statement, "kept": promise.is_kept}
                for promise in self.promises
            ],
            **self.details,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")
