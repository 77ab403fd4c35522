"""What is told: the JSON, the table, and RESULTS.md, all from one `Report`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

import msgspec

from benchmarks.machine import Machine
from benchmarks.replay.memory import SampleResult
from benchmarks.replay.stream import BLOCK, Passage, StreamResult
from benchmarks.tables import markdown_table
from benchmarks.target import Target

RAW_BYTES: Final = 165
"""Two observations of 17 and an action of 6 numbers, a reward, and one byte for the end."""


class Headline(msgspec.Struct, frozen=True):
    """The numbers that matter, of transitions with 17 numbers and a continuous action of 6 unless said.

    `redis_to_rows_per_s`: transitions per second of processor time of the learner; `.._by_the_clock`: with the
    waiting for Redis. `redis_to_rows_over_bare_read`: that time as a multiple of what reading alone takes.
    `sample256_over_sb3`: how many times faster a batch is drawn than by stable-baselines3; `.._of_eight..`: where
    eight of our batches are drawn at once, as the learner does by default.
    """

    redis_to_rows_per_s: float
    redis_to_rows_per_s_by_the_clock: float
    redis_to_rows_over_bare_read: float
    sample256_us: float
    sample256_over_sb3: float | None
    sample256_of_eight_over_sb3: float | None
    bytes_per_transition: float
    bytes_per_transition_over_raw: float
    bytes_per_transition_100_actions: float


TARGETS: Final[dict[str, Target]] = {
    "redis_to_rows_per_s": Target(100_000, is_least=True),
    "sample256_over_sb3": Target(10.0, is_least=True),
    "bytes_per_transition_over_raw": Target(1.1, is_least=False),
    "bytes_per_transition_100_actions": Target(400, is_least=False),
}


class Report(msgspec.Struct, frozen=True):
    """One run, whole."""

    command: str
    date: str
    machine: Machine
    rounds: int
    headline: Headline
    streams: list[StreamResult]
    samples: SampleResult


def headline(
    streams: Sequence[StreamResult],
    samples: SampleResult,
    continuous_bytes: float,
    hundred_bytes: float,
) -> Headline:
    """Medians over the rounds; a ratio is the median of the ratios inside a round."""
    first = streams[0]
    return Headline(
        redis_to_rows_per_s=rate(first.learned),
        redis_to_rows_per_s_by_the_clock=median(one.entries / one.wall_s for one in first.learned),
        redis_to_rows_over_bare_read=over_read(first),
        sample256_us=median(samples.ours),
        sample256_over_sb3=_over(samples.sb3, samples.ours),
        sample256_of_eight_over_sb3=_over(samples.sb3, samples.ours_of_eight),
        bytes_per_transition=continuous_bytes,
        bytes_per_transition_over_raw=continuous_bytes / RAW_BYTES,
        bytes_per_transition_100_actions=hundred_bytes,
    )


def rate(passages: Sequence[Passage]) -> float:
    """Entries per second of processor time."""
    return median(one.entries / one.cpu_s for one in passages)


def over_read(stream: StreamResult) -> float:
    """The time of the whole path as a multiple of that of reading alone."""
    return _ratio([one.cpu_s for one in stream.learned], [one.cpu_s for one in stream.read])


def _over(theirs: Sequence[float] | None, ours: Sequence[float]) -> float | None:
    return None if theirs is None else _ratio(theirs, ours)


def _ratio(above: Sequence[float], below: Sequence[float]) -> float:
    return median(a / b for a, b in zip(above, below, strict=True))


def headline_rows(report: Report) -> list[tuple[str, str, str, str]]:
    """Name, value, target, verdict."""
    rows = []
    for name, value in msgspec.structs.asdict(report.headline).items():
        target = TARGETS.get(name)
        verdict = "" if target is None or value is None else _verdict(target, value)
        rows.append((name, _number(value), str(target or ""), verdict))
    return rows


def _verdict(target: Target, value: float) -> str:
    return "met" if target.is_met(value) else "MISSED"


def _number(value: float | None) -> str:
    if value is None:
        return "stable-baselines3 is not installed"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"


STREAM_COLUMNS: Final = (
    "transitions",
    "bytes in Redis",
    "per CPU second",
    "of reading",
    "x reading",
)


def stream_rows(report: Report) -> list[tuple[str, ...]]:
    return [
        (
            one.title,
            f"{one.entry_bytes:.0f}",
            f"{rate(one.learned):,.0f}",
            f"{rate(one.read):,.0f}",
            f"{over_read(one):.2f}",
        )
        for one in report.streams
    ]


def sample_sentence(report: Report) -> str:
    """Medians of all kinds of batches."""
    samples = report.samples
    theirs = "not installed" if samples.sb3 is None else f"{median(samples.sb3):.1f} us"
    return (
        f"A batch of 256, processor time: continuous actions {median(samples.ours):.1f} us,"
        f" {median(samples.ours_of_eight):.1f} us where eight are drawn at once; sets of ten actions"
        f" {median(samples.ours_of_sets):.1f} us; stable-baselines3 {theirs}."
    )


def markdown(report: Report) -> str:
    return "\n\n".join(
        [
            "# From the replay stream to batches",
            f"Written by `{report.command}` on {report.date}; do not edit. {report.rounds} rounds, in which the ways"
            " that are compared take turns; numbers are medians over rounds, ratios medians of the ratio inside a"
            " round. Times are processor time of the process that learns, on one thread; Redis is a process of its"
            f" own and is read in blocks of {BLOCK:,}.",
            f"Machine: {report.machine.sentence()}.",
            "## Headline",
            markdown_table(("number", "measured", "target", ""), headline_rows(report)),
            "## Streams",
            "The whole path is reading, every check, decoding, and storing in a replay that forgets; reading alone"
            " leaves the replies unread.",
            markdown_table(STREAM_COLUMNS, stream_rows(report)),
            "## Batches",
            sample_sentence(report) + "\n",
        ]
    )
