"""Tables of results, for a terminal and for RESULTS.md, and the options that most benchmarks share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table


def quick_options(name: str, quick: str) -> argparse.Namespace:
    """`--quick` and `--json` of `python -m benchmarks.<name>`. `quick`: what is left out."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--quick", action="store_true", help=f"{quick}; keeps RESULTS.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number to FILE")
    return parser.parse_args()


def print_table(
    console: Console, title: str, columns: Sequence[str], lines: Sequence[Sequence[str]]
) -> None:
    """The first column holds names, all others numbers."""
    table = Table(title=title)
    for at, column in enumerate(columns):
        table.add_column(column, justify="left" if at == 0 else "right", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    console.print(table)


def markdown_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """The same as Markdown."""
    rule = ["---" for _ in columns]
    return "\n".join("| " + " | ".join(line) + " |" for line in (columns, rule, *lines))
