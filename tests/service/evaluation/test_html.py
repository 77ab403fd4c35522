"""The report as a page: whole, escaped, and in need of nothing else."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from service.evaluation.drawing import numbers_axis
from service.evaluation.evaluate import evaluate
from service.evaluation.html import page
from service.evaluation.known import Known
from service.evaluation.schemas import EvaluationReport
from service.evaluation.steps import RefusedRow
from service.evaluation.targets import named
from tests.service.evaluation.logs import Memory, ask, but, clicks


def _report(rows: int = 300, log: str = "a log") -> EvaluationReport:
    refused = [RefusedRow("log:7", "<script>alert(1)</script> & more")]
    source = Memory(clicks(rows, np.array([0.1, 0.1, 0.8])), refused, {"refused": 1})
    return evaluate(source, named("logged"), ask(constraints=["cost<=0.9"]), Known(log))


def test_a_page_says_what_the_report_says() -> None:
    report = _report()

    written = page(report)

    for expected in (
        report.verdict,
        "cost&lt;=0.9",
        "betting",
        "snips",
        "log:7",
        f"{report.value:.6g}",
    ):
        assert expected in written


def test_a_log_without_times_has_no_picture_over_time() -> None:
    steps = [but(step, at_ms=0) for step in clicks(50, np.array([0.1, 0.1, 0.8]))]

    written = page(evaluate(Memory(steps), named("logged"), ask(), Known("a log")))

    assert "Value over time" not in written
    assert "1970" not in written


def test_what_came_from_a_log_is_escaped() -> None:
    written = page(_report(log="<img src=x>"))

    assert "<script" not in written
    assert "<img" not in written
    assert "&lt;script&gt;" in written


def test_a_page_needs_nothing_from_elsewhere() -> None:
    written = page(_report())

    assert not re.search(r"(src|href)\s*=|url\(|@import|http", written)


def test_every_picture_is_sound() -> None:
    pictures = re.findall(r"<svg.*?</svg>", page(_report()), re.DOTALL)

    assert len(pictures) == 4
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        for element in root.iter():
            for name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height"):
                if name in element.attrib:
                    assert -1 <= float(element.attrib[name]) <= 1000


def test_a_report_on_nothing_is_a_page_too() -> None:
    report = evaluate(Memory([]), named("logged"), ask(), Known("a log"))

    assert "not enough evidence" in page(report)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.0, 1.0], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([3.0, 47.0], ["0", "10", "20", "30", "40", "50"]),
        ([0.0], ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
    ],
)
def test_ticks_are_round_numbers(values: list[float], labels: list[str]) -> None:
    axis = numbers_axis(values)

    assert [label for _, label in axis.ticks] == labels
    assert axis.low <= min(values)
    assert axis.high >= max(values)
