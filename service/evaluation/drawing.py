"""Small pictures as SVG, written by hand so that a report needs nothing else. Pure; texts are escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, TypeAlias

Point: TypeAlias = tuple[float, float]

_WIDTH: Final = 640
_HEIGHT: Final = 240
_LEFT: Final = 64
_RIGHT: Final = 16
_TOP: Final = 24
_BOTTOM: Final = 36
_TICKS: Final = 5


@dataclass(frozen=True, slots=True)
class Axis:
    """From `low` to `high`, which differ; `ticks` are places with their labels."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def share(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through `points`, broken where there is none; `style` is a class of the page's CSS."""

    name: str
    style: str
    points: tuple[Point | None, ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """One line of a forest plot; `low` and `high` are None where they are not known."""

    name: str
    value: float
    low: float | None
    high: float | None


def numbers_axis(values: Sequence[float]) -> Axis:
    """An axis that holds all `values`, of which there is one at least, with ticks at round numbers."""
    low, high = min(values), max(values)
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        margin = abs(low) / 2 or 1.0
        low, high = low - margin, high + margin
    step = _round_step((high - low) / _TICKS)
    first, last = math.floor(low / step), math.ceil(high / step)
    digits = max(0, -math.floor(math.log10(step)))
    ticks = tuple((i * step, f"{i * step:,.{digits}f}") for i in range(first, last + 1))
    return Axis(first * step, last * step, ticks)


def _round_step(rough: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(times * power for times in (1.0, 2.0, 5.0, 10.0) if times * power >= 0.999 * rough)


def curves(across: Axis, up: Axis, drawn: Sequence[Curve], title: str) -> str:
    """Lines over two axes, with a legend where there are several."""
    parts = [_grid(up), _labels_below(across)]
    for curve in drawn:
        parts += [
            f'<polyline class="line {curve.style}" points="{" ".join(piece)}"/>'
            for piece in _pieces(across, up, curve.points)
        ]
    if len(drawn) > 1:
        parts.append(_legend(drawn))
    return _picture(title, "".join(parts))


def bars(labels: Sequence[str], heights: Sequence[float], title: str) -> str:
    """One bar for each label."""
    up = numbers_axis([0.0, *heights])
    wide = (_WIDTH - _LEFT - _RIGHT) / len(labels)
    parts = [_grid(up)]
    for i, (label, height) in enumerate(zip(labels, heights, strict=True)):
        x, top, bottom = _LEFT + i * wide, _y(up, height), _y(up, 0.0)
        parts.append(
            f'<rect class="bar" x="{x + 1:.1f}" y="{top:.1f}" width="{wide - 2:.1f}" '
            f'height="{bottom - top:.1f}"><title>{escape(label)}: {height:,.0f}</title></rect>'
        )
        if i % max(1, len(labels) // 10) == 0:
            parts.append(_text(x + wide / 2, _HEIGHT - _BOTTOM + 16, label, "middle"))
    return _picture(title, "".join(parts))


def forest(rows: Sequence[Interval], baseline: float | None, title: str) -> str:
    """Values with their intervals, one above the other, and a line at the baseline."""
    ends = [end for row in rows for end in (row.low, row.high, row.value) if end is not None]
    across = numbers_axis(ends if baseline is None else [*ends, baseline])
    left, height = 150, 26
    total = _TOP + height * len(rows) + _BOTTOM

    def x(value: float) -> float:
        return left + across.share(value) * (_WIDTH - left - _RIGHT)

    parts = []
    for place, label in across.ticks:
        parts.append(
            f'<line class="grid" x1="{x(place):.1f}" x2="{x(place):.1f}" y1="{_TOP}" y2="{total - _BOTTOM}"/>'
        )
        parts.append(_text(x(place), total - _BOTTOM + 16, label, "middle"))
    if baseline is not None:
        parts.append(
            f'<line class="baseline" x1="{x(baseline):.1f}" x2="{x(baseline):.1f}" y1="{_TOP}" y2="{total - _BOTTOM}"/>'
        )
    for i, row in enumerate(rows):
        y = _TOP + height * (i + 0.5)
        parts.append(_text(left - 10, y + 4, row.name, "end"))
        if row.low is not None and row.high is not None:
            parts.append(
                f'<line class="whisker" x1="{x(row.low):.1f}" x2="{x(row.high):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            )
        parts.append(f'<circle class="dot" cx="{x(row.value):.1f}" cy="{y:.1f}" r="4.5"/>')
    return _picture(title, "".join(parts), total)


def _picture(title: str, content: str, height: int = _HEIGHT) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">{content}</svg>'


def _x(across: Axis, value: float) -> float:
    return _LEFT + across.share(value) * (_WIDTH - _LEFT - _RIGHT)


def _y(up: Axis, value: float) -> float:
    return _HEIGHT - _BOTTOM - up.share(value) * (_HEIGHT - _TOP - _BOTTOM)


def _pieces(across: Axis, up: Axis, points: Sequence[Point | None]) -> list[list[str]]:
    """Points without a gap between them."""
    pieces: list[list[str]] = [[]]
    for point in points:
        if point is None:
            pieces.append([])
        else:
            pieces[-1].append(f"{_x(across, point[0]):.1f},{_y(up, point[1]):.1f}")
    return [piece for piece in pieces if piece]


def _grid(up: Axis) -> str:
    return "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{_y(up, place):.1f}" y2="{_y(up, place):.1f}"/>'
        + _text(_LEFT - 8, _y(up, place) + 4, label, "end")
        for place, label in up.ticks
    )


def _labels_below(across: Axis) -> str:
    # The outer ones are kept within the picture.
    anchors = ["start", *["middle"] * (len(across.ticks) - 2), "end"]
    return "".join(
        _text(_x(across, place), _HEIGHT - _BOTTOM + 16, label, anchor)
        for (place, label), anchor in zip(across.ticks, anchors, strict=True)
    )


def _legend(drawn: Sequence[Curve]) -> str:
    parts = []
    for i, curve in enumerate(drawn):
        x = _LEFT + 12 + 130 * i
        parts.append(
            f'<line class="line {curve.style}" x1="{x}" x2="{x + 18}" y1="8" y2="8"/>'
            + _text(x + 24, 12, curve.name, "start")
        )
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
