"""Windows of clicks that fall below a baseline: when do rules give up on a policy?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from agent_core.monitoring.detectors import Cusum, EDetector, Repeats
from agent_core.monitoring.evidence import Span, bernoulli_log_ratio, drop_bet, drop_log_ratio
from agent_core.monitoring.moments import ColumnMoments, cautious_mean, mean_z
from agent_core.types import Doubles
from benchmarks.monitoring.cases import NEVER, Table, outcome

BASE: Final = 0.05
DROP: Final = 0.8
ROWS: Final = 1_000
WINDOWS: Final = 200
RUN_LENGTH: Final = 2_000.0
"""Windows between false alarms, at least."""
_BASELINE_WINDOWS: Final = 20
_UNIT: Final = Span(0.0, 1.0)
_VARIANCE: Final = BASE * (1 - BASE)
RATES: Final = {"none": 0.05, "to .045": 0.045, "to .04": 0.04, "to .03": 0.03}

_STUDY: Final = {
    "2 errors, 1 window": (".988", "8", "3", "1"),
    "3 errors, 1 window": (".126", "106", "17", "2"),
    "2 errors, 3 of 5": (".008", "199", "14.5", "3"),
    "CUSUM": (".003", "43", "8", "3"),
    "e-detector of clicks": (".044", "25", "7", "3"),
}


class Rule(NamedTuple):
    """`start`, and what its next state is `fed` with: `[ROWS]` clicks and the baseline that was measured."""

    start: Any
    fed: Callable[[Doubles, ColumnMoments], Any]


def _known(rate: float) -> ColumnMoments:
    """A baseline without an error."""
    count = 10**15
    return ColumnMoments(count, np.array([rate]), np.array([count * rate * (1 - rate)]))


def _is_low(threshold: float) -> Callable[[Doubles, ColumnMoments], bool]:
    def fed(clicks: Doubles, baseline: ColumnMoments) -> bool:
        return bool(mean_z(ColumnMoments.of(clicks[:, None]), baseline)[0] < -threshold)

    return fed


def _window_ratio(errors: float) -> Callable[[Doubles, ColumnMoments], Doubles]:
    def fed(clicks: Doubles, baseline: ColumnMoments) -> Doubles:
        mean = float(cautious_mean(baseline, errors)[0])
        ratio: Doubles = bernoulli_log_ratio(clicks, mean, DROP * mean).sum(keepdims=True)
        return ratio

    return fed


def _bets(clicks: Doubles, baseline: ColumnMoments) -> Doubles:
    mean = float(baseline.mean[0])
    return drop_log_ratio(clicks, _UNIT, mean, drop_bet(_UNIT, mean, _VARIANCE, DROP * mean))


RULES: Final = {
    "2 errors, 1 window": Rule(Repeats.start(1, 1), _is_low(2.0)),
    "3 errors, 1 window": Rule(Repeats.start(1, 1), _is_low(3.0)),
    "2 errors, 3 of 5": Rule(Repeats.start(3, 5), _is_low(2.0)),
    "CUSUM": Rule(Cusum(math.log(1e4)), _window_ratio(0.0)),
    "e-detector of clicks": Rule(EDetector(RUN_LENGTH), _window_ratio(0.0)),
    "e-detector of bounded rewards": Rule(EDetector(RUN_LENGTH * ROWS), _bets),
}
ESTIMATED: Final = {
    "2 errors, 3 of 5": RULES["2 errors, 3 of 5"],
    "e-detector of clicks": RULES["e-detector of clicks"],
    "the same, baseline 2 errors lower": Rule(EDetector(RUN_LENGTH), _window_ratio(2.0)),
}


def fallback_table(runs: int, tick: Callable[[str], None]) -> Table:
    note = (
        f"{runs:,} runs of {WINDOWS} windows of {ROWS:,} clicks against a known baseline of {BASE}; rules are tuned"
        f" to a drop of {1 - DROP:.0%}, the e-detector's mean run length is {RUN_LENGTH:,.0f} windows at least. Shares"
        " of runs with a false alarm; medians of windows until the alarm."
    )
    return _table("Falling back: alarms", note, RULES, runs, lambda _: _known(BASE), tick)


def estimated_table(runs: int, tick: Callable[[str], None]) -> Table:
    def measured(random: np.random.Generator) -> ColumnMoments:
        return ColumnMoments.of(_clicks(random, BASE, _BASELINE_WINDOWS * ROWS)[:, None])

    note = (
        f"The same, but the baseline of each run was measured on {_BASELINE_WINDOWS} windows. The z of a window counts"
        " the baseline's error; a detector that is promised a mean has to be promised a lower one."
    )
    return _table(
        "Falling back from a measured baseline: alarms", note, ESTIMATED, runs, measured, tick
    )


def _table(
    title: str,
    note: str,
    rules: dict[str, Rule],
    runs: int,
    baseline: Callable[[np.random.Generator], ColumnMoments],
    tick: Callable[[str], None],
) -> Table:
    outcomes = []
    for number, (case, rate) in enumerate(RATES.items()):
        moments = {rule: np.full(runs, NEVER) for rule in rules}
        for run in range(runs):
            random = np.random.default_rng([number, run])
            known = baseline(random)
            windows = _clicks(random, rate, WINDOWS * ROWS).reshape(WINDOWS, ROWS)
            for rule, at in moments.items():
                at[run] = _first_alarm(rules[rule], iter(windows), known)
        for rule, at in moments.items():
            is_known = title == "Falling back: alarms"
            expected = _STUDY.get(rule, ("",) * 4)[number] if is_known else ""
            outcomes.append(outcome(rule, case, at, WINDOWS, rate < BASE, expected))
        tick(f"fallback: {case}")
    return Table(title, note, outcomes)


def _first_alarm(rule: Rule, windows: Iterator[Doubles], baseline: ColumnMoments) -> float:
    state = rule.start
    for number, clicks in enumerate(windows, start=1):
        state = state.after(rule.fed(clicks, baseline))
        if state.is_tripped:
            return float(number)
    return NEVER


def _clicks(random: np.random.Generator, rate: float, rows: int) -> Doubles:
    return (random.random(rows) < rate).astype(np.float64)
