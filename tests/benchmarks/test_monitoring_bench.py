from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks.machine import describe_machine
from benchmarks.monitoring.canary import CASES, canary_table, steps_table
from benchmarks.monitoring.cases import NEVER, Table, first_moment, outcome
from benchmarks.monitoring.fallback import estimated_table, fallback_table
from benchmarks.monitoring.letter import CHANGES, Size, letter_table
from benchmarks.monitoring.report import Report, headline, headline_rows, markdown, plot, told


def test_an_outcome_tells_a_share_without_a_change_and_a_median_with_one() -> None:
    moments = np.array([2.0, 4.0, 6.0, NEVER])

    alike = outcome("z", "none", moments, 10.0, has_changed=False)
    worse = outcome("z", "drop", moments, 10.0, has_changed=True, expected="5")
    rarely = outcome("z", "drop", np.array([1.0, NEVER, NEVER]), 10.0, has_changed=True)

    assert told(alike) == "0.750"
    assert told(worse) == "5 (0.75 stopped) [5]"
    assert told(rarely) == "never (0.33 stopped)"
    # By each of 10 moments.
    assert alike.curve == [0, 0.25, 0.25, 0.5, 0.5, *[0.75] * 5]


def test_a_run_is_stopped_once() -> None:
    moments = first_moment(np.array([NEVER, 3.0]), np.array([True, True]), 7.0)

    assert moments.tolist() == [7.0, 3.0]


@pytest.fixture(scope="module")
def report() -> Report:
    def tick(_: str) -> None: ...

    random = np.random.default_rng(0)
    letters = (
        random.integers(0, 16, (11_000, 16)).astype(np.float64),
        random.integers(0, 26, 11_000),
    )
    tables = (
        canary_table(2, tick),
        steps_table(20, tick),
        fallback_table(2, tick),
        estimated_table(2, tick),
        letter_table(letters, Size(1, 2, 99), tick),
    )
    return Report("command", "today", describe_machine(()), headline(*tables), list(tables))


@pytest.mark.learning
def test_a_small_run_fills_every_table(report: Report, tmp_path: Path) -> None:
    text = markdown(report)
    plot(report, tmp_path / "plot.png")

    assert all(f"| {case.title} |" in text for case in CASES)
    assert all(f"500 {change}" in text for change in CHANGES)
    assert len(headline_rows(report)) == 12
    assert (tmp_path / "plot.png").stat().st_size > 10_000
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


@pytest.mark.learning
def test_arms_that_are_pooled_over_steps_are_the_ones_rolled_back(report: Report) -> None:
    steps: Table = report.tables[1]

    assert steps.of("arms pooled", "alike").stopped > 0.7
    assert steps.of("steps compared apart", "alike").stopped < 0.3
