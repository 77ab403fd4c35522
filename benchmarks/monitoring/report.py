"""What is told: the JSON, the tables, the plot and RESULTS.md, all from one `Report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from benchmarks.machine import Machine
from benchmarks.monitoring.cases import Outcome, Table
from benchmarks.tables import markdown_table


class Target(NamedTuple):
    bound: float
    is_least: bool

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.is_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'at least' if self.is_least else 'at most'} {self.bound:g}"


class Headline(msgspec.Struct, frozen=True):
    """Shares of runs or windows. `.._false_..`: without a change; None where the data are not at hand."""

    canary_false_rollback: float
    canary_false_rollback_rare: float
    canary_false_rollback_steps: float
    canary_power: float
    bernstein_false_rollback: float
    fallback_false_3_of_5: float
    fallback_false_e_detector: float
    fallback_false_measured_baseline: float
    drift_false_psi_500: float | None
    drift_false_mmd_500: float | None
    drift_seen_mix_2000_psi: float | None
    drift_seen_shuffled_500_mmd: float | None


TARGETS: Final = {
    "canary_false_rollback": Target(0.05, is_least=False),
    "canary_false_rollback_rare": Target(0.05, is_least=False),
    "canary_false_rollback_steps": Target(0.05, is_least=False),
    "canary_power": Target(0.95, is_least=True),
    "bernstein_false_rollback": Target(0.05, is_least=False),
    "fallback_false_3_of_5": Target(0.02, is_least=False),
    "fallback_false_e_detector": Target(0.1, is_least=False),
    "fallback_false_measured_baseline": Target(0.1, is_least=False),
    "drift_false_psi_500": Target(0.03, is_least=False),
    "drift_false_mmd_500": Target(0.03, is_least=False),
    "drift_seen_mix_2000_psi": Target(0.95, is_least=True),
    "drift_seen_shuffled_500_mmd": Target(0.9, is_least=True),
}


class Report(msgspec.Struct, frozen=True):
    """One run, whole."""

    command: str
    date: str
    machine: Machine
    headline: Headline
    tables: list[Table]


def headline(
    canary: Table, steps: Table, fallback: Table, estimated: Table, letters: Table | None
) -> Headline:
    def drift(rule: str, case: str) -> float | None:
        return None if letters is None else letters.of(rule, case).stopped

    rare = canary.of("asymptotic sequence", ".004 = .004, a tenth of the traffic")
    measured = estimated.of("the same, baseline 2 errors lower", "none")
    return Headline(
        canary_false_rollback=canary.of("asymptotic sequence", ".05 = .05").stopped,
        canary_false_rollback_rare=rare.stopped,
        canary_false_rollback_steps=steps.of("steps compared apart", "alike").stopped,
        canary_power=canary.of("asymptotic sequence", ".05 to .04").stopped,
        bernstein_false_rollback=canary.of("Bernstein of two arms", ".05 = .05").stopped,
        fallback_false_3_of_5=fallback.of("2 errors, 3 of 5", "none").stopped,
        fallback_false_e_detector=fallback.of("e-detector of clicks", "none").stopped,
        fallback_false_measured_baseline=measured.stopped,
        drift_false_psi_500=drift("PSI calibrated", "500 none"),
        drift_false_mmd_500=drift("MMD", "500 none"),
        drift_seen_mix_2000_psi=drift("PSI calibrated", "2000 class mix"),
        drift_seen_shuffled_500_mmd=drift("MMD", "500 two features shuffled"),
    )


HEADLINE_COLUMNS: Final = ("number", "measured", "target", "")


def headline_rows(report: Report) -> list[tuple[str, str, str, str]]:
    """Name, value, target, verdict."""
    rows = []
    for name, target in TARGETS.items():
        value = getattr(report.headline, name)
        if value is None:
            rows.append((name, "no data", str(target), ""))
        else:
            verdict = "met" if target.is_met(value) else "MISSED"
            rows.append((name, f"{value:.3f}", str(target), verdict))
    return rows


def columns_of(table: Table) -> tuple[str, ...]:
    return ("rule", *table.cases) if _has_few_cases(table) else ("case", *table.rules)


def rows_of(table: Table) -> list[tuple[str, ...]]:
    """One line for each rule, or for each case where these are many; "-" where nothing was measured."""
    found = {(one.rule, one.case): told(one) for one in table.outcomes}
    if _has_few_cases(table):
        return [
            (rule, *[found.get((rule, case), "-") for case in table.cases]) for rule in table.rules
        ]
    return [(case, *[found.get((rule, case), "-") for rule in table.rules]) for case in table.cases]


def told(outcome: Outcome) -> str:
    """What was measured, and what the design study did in brackets."""
    return outcome.told + (f" [{outcome.expected}]" if outcome.expected else "")


def _has_few_cases(table: Table) -> bool:
    return len(table.cases) <= len(table.rules) + 2


def markdown(report: Report) -> str:
    parts = [
        "# How often monitors alarm, and how soon",
        f"Written by `{report.command}` on {report.date}; do not edit. Everything that is judged here is judged by"
        " `agent_core/monitoring`, one call for each look. Numbers in square brackets are what a simulation before"
        " the implementation measured, with runs and mixtures of its own.",
        f"Machine: {report.machine.sentence()}.",
        "## Headline",
        markdown_table(HEADLINE_COLUMNS, headline_rows(report)),
        "![curves](results.png)",
    ]
    for table in report.tables:
        parts += [
            f"## {table.title}",
            table.note,
            markdown_table(columns_of(table), rows_of(table)),
        ]
    return "\n\n".join(parts) + "\n"


def plot(report: Report, path: Path) -> None:
    """False alarms of canary and fallback rules over time, and what is seen of changed letters."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(19, 5.5), layout="constrained")
    tables = {table.title.split(":")[0]: table for table in report.tables}
    _curves(axes[0], tables["Canary against stable"], ".05 = .05", "rows of the canary", 20_000)
    _curves(axes[1], tables["Falling back"], "none", "windows", 200)
    if "Drift of letters" in tables:
        _heat(axes[2], tables["Drift of letters"])
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _curves(axes: Any, table: Table, case: str, unit: str, end: int) -> None:
    for rule in table.rules:
        curve = table.of(rule, case).curve
        axes.plot(np.linspace(0, end, len(curve) + 1)[1:], curve, label=rule)
    axes.set(title=f"{table.title}, without a change", xlabel=unit, ylabel="share of runs")
    axes.set_yscale("symlog", linthresh=0.01)
    axes.axhline(0.05, color="grey", linewidth=0.8, linestyle="--")
    axes.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.13))


def _heat(axes: Any, table: Table) -> None:
    shares = [[table.of(rule, case).stopped for case in table.cases] for rule in table.rules]
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    axes.set_xticks(range(len(table.cases)), table.cases, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(len(table.rules)), table.rules, fontsize=8)
    for row, line in enumerate(shares):
        for column, share in enumerate(line):
            ink = "white" if share > 0.6 else "black"
            axes.text(column, row, f"{share:.2f}", ha="center", va="center", fontsize=7, color=ink)
    axes.set_title(table.title)
