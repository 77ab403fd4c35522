"""What is told: the JSON, the table, and RESULTS.md, all from one `Report`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from benchmarks.machine import Machine
from benchmarks.serving.statistics import (
    CaseResult,
    Measured,
    Noise,
    noise,
    paired_difference_us,
    paired_ratio,
    summarize,
)
from benchmarks.serving.swaps import SwapResult
from benchmarks.tables import markdown_table
from benchmarks.target import Target


class Headline(msgspec.Struct, frozen=True):
    """The numbers that matter. `x_over_y`: processor time of x per request divided by that of y;
    `durable_small_over_floor`: the share of the floor's speed that is left. The large naive opponent
    takes nested JSON, the only form that it knows for actions that bring their features."""

    durable_small_over_floor: float
    naive_over_durable_small: float
    naive_over_durable_500_ids: float
    naive_over_durable_500_binary: float
    awaited_log_us: float
    swap_errors: int
    swap_torn: int
    vw_over_durable_small: float | None


TARGETS: Final[dict[str, Target]] = {
    "durable_small_over_floor": Target(0.60, is_least=True),
    "naive_over_durable_small": Target(8.0, is_least=True),
    "naive_over_durable_500_ids": Target(10.0, is_least=True),
    "naive_over_durable_500_binary": Target(10.0, is_least=True),
    "awaited_log_us": Target(6.0, is_least=False),
    "swap_errors": Target(0, is_least=False),
    "swap_torn": Target(0, is_least=False),
}


class Report(msgspec.Struct, frozen=True):
    """One run, whole. `like_for_like`: further ratios, where the naive service gets ids as well.
    `connections`: for ten and for 500 actions."""

    command: str
    date: str
    machine: Machine
    rounds: int
    window_s: float
    connections: tuple[int, int]
    noise: Noise
    headline: Headline
    below_target: list[str]
    like_for_like: dict[str, float]
    cases: dict[str, CaseResult]
    titles: dict[str, str]
    swaps: SwapResult
    windows: dict[str, Measured]

    @property
    def failed(self) -> int:
        """Answers that were not what was asked for, in all."""
        return sum(case.failed for case in self.cases.values()) + self.swaps.errors


def make_report(
    measured: Mapping[str, Measured],
    titles: Mapping[str, str],
    swaps: SwapResult,
    *,
    command: str,
    date: str,
    machine: Machine,
    window_s: float,
    connections: tuple[int, int],
) -> Report:
    """Everything that follows from the windows."""
    head = headline(measured, swaps)
    floor = measured["floor"]
    every = [one for case in measured.values() for one in (*case.closed, *case.open)]
    return Report(
        command=command,
        date=date,
        machine=machine,
        rounds=len(floor.closed),
        window_s=window_s,
        connections=connections,
        noise=noise(every),
        headline=head,
        below_target=[n for n, t in TARGETS.items() if not t.is_met(getattr(head, n))],
        like_for_like=_like_for_like(measured),
        cases={name: summarize(case, floor) for name, case in measured.items()},
        titles=dict(titles),
        swaps=swaps,
        windows=dict(measured),
    )


def headline(measured: Mapping[str, Measured], swaps: SwapResult) -> Headline:
    """The headline of one run."""
    durable, large = measured["act_small"], measured["naive_500_nested"]
    vw = measured.get("vw_small")
    return Headline(
        durable_small_over_floor=paired_ratio(measured["floor"], durable),
        naive_over_durable_small=paired_ratio(measured["naive_small"], durable),
        naive_over_durable_500_ids=paired_ratio(large, measured["act_500_ids"]),
        naive_over_durable_500_binary=paired_ratio(large, measured["act_500_binary"]),
        awaited_log_us=paired_difference_us(durable, measured["act_small_no_log"]),
        swap_errors=swaps.errors,
        swap_torn=swaps.torn,
        vw_over_durable_small=None if vw is None else paired_ratio(vw, durable),
    )


_PAIRS: Final = {
    "naive_500_ids_over_durable_500_ids": ("naive_500_ids", "act_500_ids"),
    "naive_500_nested_over_durable_500_nested": ("naive_500_nested", "act_500_nested"),
    "frozen_over_durable_small": ("frozen_small", "act_small"),
    "frozen_500_nested_over_durable_500_ids": ("frozen_500_nested", "act_500_ids"),
    "frozen_500_nested_over_durable_500_binary": ("frozen_500_nested", "act_500_binary"),
    "naive_def_over_durable_small": ("naive_def_small", "act_small"),
    "naive_def_500_nested_over_durable_500_nested": ("naive_def_500_nested", "act_500_nested"),
    "vw_500_nested_over_durable_500_nested": ("vw_500_nested", "act_500_nested"),
    "vw_over_no_log_small": ("vw_small", "act_small_no_log"),
}


def _like_for_like(measured: Mapping[str, Measured]) -> dict[str, float]:
    return {
        name: paired_ratio(measured[above], measured[below])
        for name, (above, below) in _PAIRS.items()
        if above in measured
    }


# -- for people ---------------------------------------------------------------------------------

COLUMNS: Final = (
    "case", "CPU us/request", "lowest - highest", "x floor", "requests/s", "p50 us", "p99 us", "quiet", "failed",
)  # fmt: skip


def rows(report: Report) -> list[tuple[str, ...]]:
    """The table, as text."""
    return [_row(report.titles[name], case) for name, case in report.cases.items()]


def _row(title: str, case: CaseResult) -> tuple[str, ...]:
    return (
        title,
        f"{case.cpu_us:.1f}",
        f"{case.cpu_us_lowest:.1f} - {case.cpu_us_highest:.1f}",
        f"{1 / case.share_of_floor:.2f}",
        _number(case.per_second),
        _number(case.p50_us),
        _number(case.p99_us),
        f"{case.quiet_windows}/{case.windows}",
        str(case.failed),
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def headline_rows(report: Report) -> list[tuple[str, str, str, str]]:
    """Name, value, target, and whether it is met."""
    found = msgspec.to_builtins(report.headline)
    return [_headline_row(name, value) for name, value in found.items()]


def _headline_row(name: str, value: float | None) -> tuple[str, str, str, str]:
    target = TARGETS.get(name)
    shown = "-" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")
    if target is None or value is None:
        return name, shown, "", ""
    return name, shown, str(target), "met" if target.is_met(value) else "MISSED"


def swap_sentence(swaps: SwapResult) -> str:
    """The swaps in one sentence."""
    return (
        f"{swaps.swaps} swaps of {swaps.seen_versions} versions within {swaps.seconds:.0f} s under load"
        f" ({swaps.decisions} decisions): {swaps.errors} errors, {swaps.torn} torn decisions,"
        f" {swaps.median_ms:.0f} ms from the call until the version serves (median)."
    )


def markdown(report: Report) -> str:
    """RESULTS.md."""
    parts = [
        "# What a request costs the server",
        f"Written by `{report.command}` on {report.date}; do not edit. {_METHOD}",
        f"Machine: {report.machine.sentence()}.",
        f"{report.rounds} rounds of {report.window_s:g} s windows, {report.connections[0]} connections ({report.connections[1]} for 500 actions). {report.noise.verdict}",
        "## Headline",
        markdown_table(("number", "measured", "target", ""), headline_rows(report)),
        swap_sentence(report.swaps),
        "## Cases",
        markdown_table(COLUMNS, rows(report)),
        _LEGEND,
        "## Further ratios",
        markdown_table(("ratio", "x"), [(n, f"{v:.1f}") for n, v in report.like_for_like.items()]),
    ]
    return "\n\n".join(parts) + "\n"


_METHOD: Final = (
    "Server pinned to one core, load generator and Redis to another; the cases take turns in every round."
    " The measure is scheduler processor time of the server process per request; ratios are medians over"
    " rounds of the ratio inside a round."
)
_LEGEND: Final = (
    "Requests per second: closed loop. p50 and p99: open loop (Poisson) at half that rate, from the moment"
    " a request was due. Both come from quiet windows only; `-` means that there was none. Durable: answered"
    " after Redis has the record. vw writes no log. Naive answers nested JSON in the ratios of the headline"
    " with 500 actions: it knows no other form for actions that bring their features; like for like is under"
    " further ratios. No case may have failures."
)
