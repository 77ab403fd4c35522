"""One picture: lines over a shared axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

_STYLES: Final = {"line": "-", "dashed": "--", "points": "."}


@dataclass(frozen=True, slots=True)
class Line:
    """One labelled series."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    style: Literal["line", "dashed", "points"] = "line"


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn; the lowest value of the y axis is 0. `marks`: places on the x axis with what begins there."""

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    marks: Sequence[tuple[float, str]] = ()

    def draw(self, path: Path) -> None:
        """Writes a PNG, without any display."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 5), layout="constrained")
        axes = figure.add_subplot()
        for line in self.lines:
            axes.plot(line.x, line.y, _STYLES[line.style], label=line.label)
        for at, what in self.marks:
            axes.axvline(at, color="gray", linewidth=0.8, linestyle=":")
            axes.annotate(
                what,
                (at, 0.02),
                xycoords=("data", "axes fraction"),
                rotation=90,
                fontsize=8,
                va="bottom",
            )
        axes.set(title=self.title, xlabel=self.x_label, ylabel=self.y_label)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png")
