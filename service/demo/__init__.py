"""`nacre demo`: a real task, played through HTTP against a stack of real processes, and an honest account.

    digits          which label belongs to this image? the action set changes with every request
    cartpole        a gymnasium environment, played as episodes
    open_bandit     ten thousand logged decisions of somebody else
    story           a bad candidate, a drift and a broken reward feed, and what stands in their way

Only this package of the service is a client of it: everything goes through `nacre_client`. Afterwards
the archived log is read, because an account that only asks the counters would believe them.
"""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from nacre_client import NacreError
from rich.console import Console

from service.demo.errors import DemoError
from service.stack import StackError

if TYPE_CHECKING:
    from service.demo.report import Report
    from service.demo.stage import Stage


_WIDTH: Final = 120
"""Of the table where there is no terminal to ask."""


class Demo(Protocol):
    """One demo: which policy it needs, and what it plays."""

    def policy(self) -> dict[str, Any]: ...

    def play(self, stage: Stage, console: Console) -> Coroutine[Any, Any, Report]: ...


def run_demo(
    *,
    env: str | None,
    log: str | None,
    story: bool,
    json: Path | None,
    plot: Path,
    requests: int | None,
    seed: int,
) -> int:
    """Plays one demo; returns the exit code: 1 when a promise was broken, 2 when it could not start."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    try:
        demo = _choose(env, log, story, requests, seed)
    except ModuleNotFoundError as missing:
        console.print(f"the demo needs {missing.name}: pip install 'nacre\\[demo]'", style="red")
        return 2
    except ValueError as error:
        console.print(str(error), style="red", markup=False)
        return 2
    try:
        report = _play(demo, console)
    except (StackError, DemoError, NacreError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    report.chart.draw(plot)
    report.show(console, plot)
    if json is not None:
        report.write(json)
    return 0 if report.is_kept else 1


def _choose(env: str | None, log: str | None, story: bool, requests: int | None, seed: int) -> Demo:
    """Imports only what the chosen demo needs.

    Raises:
        ValueError: there is no such demo.
        ModuleNotFoundError: an optional dependency is not installed.
    """
    import matplotlib as _  # noqa: F401  # every demo draws: say now that it is missing

    if (env is not None) + (log is not None) + story > 1:
        raise ValueError("--env, --log and --story are demos of their own; choose one")
    if story and requests is not None:
        raise ValueError("a story takes as long as it takes; leave out --requests")
    if requests is not None and requests < 1:
        raise ValueError(f"--requests is {requests}; expected at least 1")
    if env is not None:
        from service.demo.cartpole import EpisodesDemo

        return EpisodesDemo(env, requests, seed)
    if log is not None:
        from service.demo.open_bandit import NAME, OpenBanditDemo

        if log != NAME:
            raise ValueError(f"there is no log {log!r}; the one that is shipped is {NAME!r}")
        return OpenBanditDemo(requests)
    if story:
        from service.demo.story import StoryDemo

        return StoryDemo(seed)
    from service.demo.digits import DigitsDemo

    return DigitsDemo(requests, seed)


def _play(demo: Demo, console: Console) -> Report:
    from service.demo.stage import running, until_sigterm

    with running(demo.policy(), console) as stage:
        return until_sigterm(demo.play(stage, console))
