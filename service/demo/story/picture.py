"""The story as one picture: how often the answer was right, and who gave it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from service.demo.chart import Chart, Line
from service.demo.story.traffic import Answered, Traffic

_BLOCK: Final = 100


def picture(traffic: Traffic) -> Chart:
    """Every 100 decisions: right answers, and the shares of the canary and of the fallback."""
    return Chart(
        title="A policy that is gated, compared, watched, tripped and let go",
        x_label="decisions",
        y_label=f"share of {_BLOCK} decisions",
        lines=[
            _line("right", traffic, lambda one: one.is_right),
            _line("decided by the canary", traffic, lambda one: float(one.arm == "canary"), True),
            _line(
                "decided by the fallback", traffic, lambda one: float(one.arm == "fallback"), True
            ),
        ],
        marks=[(float(one.answer), one.title) for one in traffic.chapters],
    )


def _line(
    label: str, traffic: Traffic, of: Callable[[Answered], float], is_dashed: bool = False
) -> Line:
    values = [of(one) for one in traffic.answers]
    starts = range(0, len(values), _BLOCK)
    return Line(
        label,
        [float(at) for at in starts],
        [float(np.mean(values[at : at + _BLOCK])) for at in starts],
        "dashed" if is_dashed else "line",
    )
