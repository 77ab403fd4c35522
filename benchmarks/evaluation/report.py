"""What is told: the JSON, the tables, and RESULTS.md, all from one `Report`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec

from benchmarks.evaluation.open_bandit import Run
from benchmarks.evaluation.workers import Timing
from benchmarks.machine import Machine
from benchmarks.tables import markdown_table


class Headline(msgspec.Struct, frozen=True):
    """`estimates`: how many were compared with the value on the target's own log. `within_2_errors`: the share of
    them that is nearer than two standard errors of both together. `median_apart`: in such errors.
    `lower_bounds_above`: lower bounds that are above that value. `furthest_from_oracle`: from what another library
    computed without a model, in units of clicks."""

    estimates: int
    within_2_errors: float
    median_apart: float
    lower_bounds: int
    lower_bounds_above: int
    furthest_from_oracle: float | None


class Report(msgspec.Struct, frozen=True):
    """One run, whole. `headline`: None where the data set is not at hand; `missing` says so."""

    command: str
    date: str
    machine: Machine
    headline: Headline | None
    missing: str
    runs: list[Run]
    timings: list[Timing]


def headline(runs: Sequence[Run]) -> Headline:
    apart = [abs(line.apart) for run in runs for line in run.lines]
    bounds = [
        (lower, run.own) for run in runs for lower in run.bounds.values() if lower is not None
    ]
    far = [
        abs(line.value - run.oracle[line.estimator])
        for run in runs
        for line in run.lines
        if line.estimator in run.oracle
    ]
    return Headline(
        estimates=len(apart),
        within_2_errors=sum(one < 2 for one in apart) / len(apart),
        median_apart=median(apart),
        lower_bounds=len(bounds),
        lower_bounds_above=sum(lower > own for lower, own in bounds),
        furthest_from_oracle=max(far, default=None),
    )


def run_rows(run: Run) -> list[tuple[str, ...]]:
    return [
        (
            line.estimator,
            f"{line.value:.6f}",
            f"{line.standard_error:.6f}",
            "" if line.parameter is None else f"{line.parameter:g}",
            f"{line.apart:+.2f}",
        )
        for line in run.lines
    ]


def timing_rows(timings: Sequence[Timing]) -> list[tuple[str, ...]]:
    return [
        (one.how, f"{one.decisions:,}", f"{one.seconds:.1f}", f"{one.decisions_per_s:,.0f}", "yes" if one.is_same else "NO")
        for one in timings
    ]  # fmt: skip


RUN_COLUMNS = ("estimator", "value", "standard error", "parameter", "errors apart")
TIMING_COLUMNS = ("how", "decisions", "seconds", "per second", "same report")


def title(run: Run) -> str:
    return f"{run.campaign}: {run.target}, estimated from the log of {run.log}"


def facts(run: Run) -> str:
    bounds = ", ".join(
        f"{name} {'none' if lower is None else f'{lower:.6f}'}"
        for name, lower in run.bounds.items()
    )
    return (
        f"On its own log {run.own:.6f} (standard error {run.own_error:.6f}); the log that is read earned "
        f"{run.logged:.6f} and is worth {run.effective_rows:,.0f} rows, with a mean weight of "
        f"{run.mean_weight:.4f}. Lower bounds at 0.05: {bounds}."
    )


def markdown(report: Report) -> str:
    parts = [
        "# Estimates beside what happened",
        f"Written by `{report.command}` on {report.date}; do not edit.",
        f"Machine: {report.machine.sentence()}.",
    ]
    if report.headline is not None:
        rows = [
            (name, _told(value)) for name, value in msgspec.structs.asdict(report.headline).items()
        ]
        parts += ["## Headline", markdown_table(("number", "measured"), rows)]
        parts.append(
            "Each file has 38 to 69 clicks, so standard errors are a fifth of the values: this shows that the whole "
            "path is right, not which estimator is best."
        )
    else:
        parts.append(report.missing)
    for run in report.runs:
        parts += [
            f"## {title(run)}",
            facts(run),
            markdown_table(RUN_COLUMNS, run_rows(run)),
        ]
    parts += [
        "## Workers",
        "A network of version 1 is asked about ten actions with 16 numbers each. Seconds are by the clock, on a machine "
        "that other work may share; two workers on two cores share them with the process that reads the log.",
        markdown_table(TIMING_COLUMNS, timing_rows(report.timings)),
    ]
    return "\n\n".join(parts) + "\n"


def _told(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
