"""What is told: the JSON, the tables, and RESULTS.md, all from one `Report`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

import msgspec

from benchmarks.learner.cases import CASES, GOALS, OURS, Goal
from benchmarks.learner.timing import paired_ratio
from benchmarks.machine import Machine
from benchmarks.tables import markdown_table


class Measured(msgspec.Struct, frozen=True):
    """One case. `us`: processor microseconds per update of each contestant, a window for each round. `forms`: how
    those make updates that could choose. `not_measured`: why the others are missing."""

    us: dict[str, list[float]]
    forms: dict[str, str]
    not_measured: dict[str, str]


class Report(msgspec.Struct, frozen=True):
    """One run, whole. `headline`: the ratio of each goal whose case was run, null where the rival was missing.
    `below_goal`: those that were measured and are too small."""

    command: str
    date: str
    machine: Machine
    rounds: int
    window_s: float
    headline: dict[str, float | None]
    below_goal: list[str]
    cases: dict[str, Measured]


def make_report(
    cases: Mapping[str, Measured],
    *,
    command: str,
    date: str,
    machine: Machine,
    rounds: int,
    window_s: float,
) -> Report:
    """Everything that follows from the windows."""
    found = {name: _ratio(goal, cases) for name, goal in GOALS.items() if goal.case in cases}
    missed = [n for n, ratio in found.items() if ratio is not None and ratio < GOALS[n].bound]
    return Report(command, date, machine, rounds, window_s, found, missed, dict(cases))


def _ratio(goal: Goal, cases: Mapping[str, Measured]) -> float | None:
    us = cases[goal.case].us
    return paired_ratio(us[goal.rival], us[OURS]) if goal.rival in us else None


# -- for people ---------------------------------------------------------------------------------

COLUMNS: Final = ("", "us/update", "lowest - highest", "updates/s", "x the time of nacre")
HEADLINE_COLUMNS: Final = ("number", "measured", "goal", "")


def rows(case: Measured) -> list[tuple[str, ...]]:
    """The table of a case, as text."""
    return [_row(name, us, case) for name, us in case.us.items()]


def _row(name: str, us: Sequence[float], case: Measured) -> tuple[str, ...]:
    form = f" ({case.forms[name]})" if name in case.forms else ""
    return (
        f"{name}{form}",
        f"{median(us):.1f}",
        f"{min(us):.1f} - {max(us):.1f}",
        f"{1e6 / median(us):.0f}",
        f"{paired_ratio(us, case.us[OURS]):.2f}",
    )


def headline_rows(report: Report) -> list[tuple[str, str, str, str]]:
    """Name, value, goal, and whether it is reached."""
    return [_headline_row(name, ratio) for name, ratio in report.headline.items()]


def _headline_row(name: str, ratio: float | None) -> tuple[str, str, str, str]:
    bound = f"at least {GOALS[name].bound:g}"
    if ratio is None:
        return name, "-", bound, "not measured"
    return name, f"{ratio:.2f}", bound, "reached" if ratio >= GOALS[name].bound else "MISSED"


def markdown(report: Report) -> str:
    """RESULTS.md."""
    parts = [
        "# How fast learners are updated",
        f"Written by `{report.command}` on {report.date}; do not edit. {_METHOD}",
        f"Machine: {report.machine.sentence()}.",
        f"{report.rounds} rounds of {report.window_s:g} s windows, one thread.",
        "## Headline",
        markdown_table(HEADLINE_COLUMNS, headline_rows(report)),
    ]
    for name, case in report.cases.items():
        parts += _section(name, case)
    return "\n\n".join(parts) + "\n"


def _section(name: str, case: Measured) -> list[str]:
    missing = [f"Not measured: {who}, {why}." for who, why in case.not_measured.items()]
    parts = [
        f"## {CASES[name].title}",
        markdown_table(COLUMNS, rows(case)),
        CASES[name].note,
        *missing,
    ]
    return [part for part in parts if part]


_METHOD: Final = (
    "Everybody learns from the same made-up experience with networks of the same widths, the drawing of batches"
    " included; the contestants of a case take turns in every round. The measure is processor time per update;"
    " ratios are medians over rounds of the ratio inside a round. Nacre is measured in the form that its update"
    " engine chose, and by calling the learner update by update (not tuned)."
)
