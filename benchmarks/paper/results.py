"""What a suite measured, what it claims, and how it is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from benchmarks.machine import Machine
from benchmarks.paper.loop import Episode

_PLOT_INCHES: Final = (10, 4.5)


class Outcome(msgspec.Struct, frozen=True):
    """One seed of one arm.

    `values`: at each of `marks`, in environment steps, the mean return of the episodes that ended in the
    window before it; None where none did. `numbers`: whatever else was measured, by name. `skipped`:
    transitions and updates that were refused because a number was not finite.
    """

    marks: list[int]
    values: list[float | None]
    numbers: dict[str, float] = {}
    updates: int = 0
    skipped: int = 0
    seconds: float = 0.0


class Finding(msgspec.Struct, frozen=True):
    """One claim: what was measured, and under the same names what it is held against.

    `source`: where the reference comes from, and how near to it is near enough. `holds`: None where it could
    not be measured, or where nothing is claimed.
    """

    measured: dict[str, float]
    reference: dict[str, float]
    source: str
    holds: bool | None


class SuiteResult(msgspec.Struct, frozen=True):
    """What is known of one suite. `date`, `command`, `machine`: of the run that measured last. `policies`, `ticks`:
    the agent section of every arm, and its steps and updates. `unavailable`: arms that could not be run, and why."""

    suite: str
    title: str
    date: str
    command: str
    machine: Machine
    headline: dict[str, Finding]
    unavailable: dict[str, str]
    ticks: dict[str, int]
    policies: dict[str, Any]
    outcomes: dict[str, list[Outcome]]

    @property
    def seconds(self) -> float:
        """Of everything that was measured, one after the other."""
        return sum(one.seconds for outcomes in self.outcomes.values() for one in outcomes)

    @property
    def has_curves(self) -> bool:
        """Whether there is something to draw: what was learned without playing has no curve."""
        outcomes = (one for found in self.outcomes.values() for one in found)
        return any(value is not None for one in outcomes for value in one.values)

    @property
    def told_seeds(self) -> str:
        """ "3 seeds", or "2 to 3 seeds" of an arm."""
        counts = [len(found) for found in self.outcomes.values()] or [0]
        span = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
        return f"{span} seed" if span == "1" else f"{span} seeds"


class Measured:
    """The outcomes of a suite, as its claims ask for them: means over the seeds, and their errors."""

    def __init__(self, outcomes: Mapping[str, Sequence[Outcome]]) -> None:
        self._outcomes = outcomes

    def has(self, *arms: str) -> bool:
        """Whether all of `arms` were run."""
        return all(arm in self._outcomes for arm in arms)

    @property
    def arms(self) -> list[str]:
        """Those that were run, in order."""
        return list(self._outcomes)

    def last(self, arm: str) -> list[float]:
        """The last value of the curve, by seed."""
        values = ([v for v in one.values if v is not None] for one in self._outcomes[arm])
        return [found[-1] if found else math.nan for found in values]

    def at(self, arm: str, mark: int) -> list[float]:
        """The value at `mark`, by seed; NaN where there is none."""
        found = []
        for one in self._outcomes[arm]:
            value = one.values[one.marks.index(mark)] if mark in one.marks else None
            found.append(math.nan if value is None else value)
        return found

    def number(self, arm: str, name: str) -> list[float]:
        """`numbers[name]`, by seed."""
        return [one.numbers[name] for one in self._outcomes[arm]]


def mean(values: Sequence[float]) -> float:
    """Over the seeds, for a report: six digits after the point."""
    return round(float(np.mean(values)), 6)


def standard_error(values: Sequence[float]) -> float:
    """Of the mean over the seeds; 0 for a single one."""
    if len(values) < 2:
        return 0.0
    return round(float(np.std(values, ddof=1) / math.sqrt(len(values))), 6)


def over_seeds(name: str, values: Sequence[float]) -> dict[str, float]:
    """The mean as `name`, and its `standard_error`: numbers for a finding."""
    return {name: mean(values), "standard_error": standard_error(values)}


def is_no_worse(
    found: Mapping[str, float], reference: Mapping[str, float], name: str, errors: float
) -> bool:
    """Whether `name`, a mean of `over_seeds`, is behind by at most `errors` standard errors of the difference."""
    slack = errors * math.hypot(found["standard_error"], reference["standard_error"])
    return found[name] >= reference[name] - slack


def not_run(source: str) -> Finding:
    """The finding about arms that are not available."""
    return Finding({}, {}, source, None)


def marks_of(steps: int, every: int) -> list[int]:
    """Every `every` steps, and the end."""
    return [*range(every, steps, every), steps]


def averages(episodes: Sequence[Episode], marks: Sequence[int], window: int) -> list[float | None]:
    """At each mark, the mean return of the episodes that ended in the `window` steps up to it."""
    ends = [one.end_step for one in episodes]
    totals = np.concatenate(([0.0], np.cumsum([one.total for one in episodes])))
    first = np.searchsorted(ends, [mark - window for mark in marks], side="right")
    past = np.searchsorted(ends, marks, side="right")
    pairs = zip(first.tolist(), past.tolist(), strict=True)
    return [float((totals[b] - totals[a]) / (b - a)) if b > a else None for a, b in pairs]


def plot(result: SuiteResult, path: Path) -> None:
    """The mean of each arm, with one standard error to both sides."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=_PLOT_INCHES, layout="constrained")
    axes.set_prop_cycle(color=mpl.color_sequences["tab20"])  # a suite has up to 18 arms
    for arm, outcomes in result.outcomes.items():
        marks, centre, error = _band(outcomes)
        if len(marks):
            axes.plot(marks, centre, label=arm)
            axes.fill_between(marks, centre - error, centre + error, alpha=0.2)
    axes.set(xlabel="environment steps", ylabel="return", title=result.title)
    if axes.has_data():
        figure.legend(loc="outside right upper", fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _band(outcomes: Sequence[Outcome]) -> tuple[Any, Any, Any]:
    """Marks, means and standard errors, where every seed has a value."""
    marks = np.array(outcomes[0].marks)
    values = np.array([one.values for one in outcomes], float).reshape(len(outcomes), len(marks))
    known = ~np.isnan(values).any(axis=0)
    values = values[:, known]
    error = values.std(axis=0, ddof=1) if len(outcomes) > 1 else np.zeros(values.shape[1])
    return marks[known], values.mean(axis=0), error / math.sqrt(len(outcomes))
