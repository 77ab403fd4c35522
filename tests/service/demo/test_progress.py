"""Progress: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from service.demo.progress import Ticker


def shown(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_terminal_gets_a_bar_with_the_facts() -> None:
    console = Console(file=StringIO(), force_terminal=True, width=120)

    with Ticker(console, "digits", 200) as ticker:
        ticker.show(50, "reward 0.93")

    assert "50/200" in shown(console)
    assert "reward 0.93" in shown(console)


def test_without_a_terminal_lines_are_few() -> None:
    console = Console(file=StringIO(), width=120)

    with Ticker(console, "digits", 200, line_every_s=3600) as ticker:
        for done in range(100):
            ticker.show(done, "reward [0.93]")

    assert shown(console).strip() == ""


def test_a_line_says_how_far_it_is() -> None:
    console = Console(file=StringIO(), width=120)

    with Ticker(console, "digits", 2000, line_every_s=0) as ticker:
        ticker.show(1500, "reward [0.93]")

    assert "digits  1,500/2,000  reward [0.93]" in shown(console)
