"""How far a demo is: a live bar on a terminal, a line now and then where there is none."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

REFRESH_S: Final = 0.25
_LINE_EVERY_S: Final = 5.0


class Ticker:
    """Shows progress; `facts` is one line about how things stand.

    with Ticker(console, "digits", total) as ticker:
        ticker.show(done, "reward 0.93   312/s   digits@23")
    """

    def __init__(
        self, console: Console, title: str, total: int, line_every_s: float = _LINE_EVERY_S
    ) -> None:
        self._console = console
        self._title = title
        self._total = total
        self._line_every_s = line_every_s
        self._shown_s = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(title, total=total, facts="")

    def show(self, done: int, facts: str) -> None:
        """Call it every `REFRESH_S` or so."""
        if self._console.is_terminal:
            self._progress.update(self._task, completed=done, facts=facts)
        elif time.monotonic() - self._shown_s >= self._line_every_s:
            self._shown_s = time.monotonic()
            self._console.print(f"{self._title}  {done:,}/{self._total:,}  {facts}", markup=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
