"""Canaries of clicks against a stable version: one column of sums for each simulated rollout."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np

from agent_core.monitoring.bernstein import BernsteinSums, bernstein_difference
from agent_core.monitoring.confidence_sequences import Difference, asymptotic_interval
from agent_core.monitoring.evidence import Span
from agent_core.monitoring.moments import ColumnMoments
from agent_core.types import Doubles, Mask
from benchmarks.monitoring.cases import NEVER, Outcome, Table, first_moment, outcome

ALPHA: Final = 0.05
N_OPT: Final = 5_000
LOOK_ROWS: Final = 100
LOOKS: Final = 200
_END: Final = float(LOOK_ROWS * LOOKS)
_UNIT: Final = Span(0.0, 1.0)
_PAIRED: Final = Span(-1.0, 1.0)


class Case(NamedTuple):
    """Rates of clicks; `stable_times`: rows of the stable arm for one of the canary."""

    title: str
    stable: float
    canary: float
    stable_times: int = 1


CASES: Final = (
    Case(".05 = .05", 0.05, 0.05),
    Case(".05 to .04", 0.05, 0.04),
    Case(".05 to .035", 0.05, 0.035),
    Case(".3 = .3", 0.3, 0.3),
    Case(".3 to .27", 0.3, 0.27),
    Case(".05 = .05, a tenth of the traffic", 0.05, 0.05, 9),
    Case(".05 to .04, a tenth of the traffic", 0.05, 0.04, 9),
    Case(".004 = .004, a tenth of the traffic", 0.004, 0.004, 9),
)

_STUDY: Final = {
    "z at each look": (".319", "1300", "700", ".340", "800"),
    "2 standard errors": (".193", "2100", "1000", ".205", "1200"),
    "3 standard errors": (".020", "6200", "2700", ".026", "3500"),
    "asymptotic sequence": (".026", "5200", "2500", ".028", "3100"),
    "Bernstein of pairs": (".008", "11100 (.81)", "3700", ".015", "6700 (.93)"),
}
_THRESHOLDS: Final = {
    "z at each look": NormalDist().inv_cdf(1 - ALPHA),
    "2 standard errors": 2.0,
    "3 standard errors": 3.0,
}


def canary_table(runs: int, tick: Callable[[str], None]) -> Table:
    """`tick` is called after each case."""
    outcomes: list[Outcome] = []
    for number, case in enumerate(CASES):
        stopped = _rollouts(case, runs, np.random.default_rng(number))
        for rule, moments in stopped.items():
            expected = dict(zip((c.title for c in CASES), _STUDY.get(rule, ()), strict=False))
            is_worse = case.canary < case.stable
            told = expected.get(case.title, "")
            outcomes.append(outcome(rule, case.title, moments, _END, is_worse, told))
        tick(f"canary: {case.title}")
    return Table(
        "Canary against stable: rolled back",
        f"{runs:,} rollouts of clicks, a look at every {LOOK_ROWS} rows of the canary up to {_END:,.0f}; alpha"
        f" {ALPHA}, n_opt {N_OPT:,}. Shares rolled back where both arms are alike; medians of rows of the canary"
        " until rollback where it is worse. The Bernstein sequence of pairs needs as many rows in each arm; that of"
        " two arms is what the service can use.",
        outcomes,
    )


def _rollouts(case: Case, runs: int, random: np.random.Generator) -> dict[str, Doubles]:
    """When each run was rolled back, by each rule."""
    is_paired = case.stable_times == 1
    names = [*_THRESHOLDS, "asymptotic sequence", "Bernstein of two arms"]
    stopped = {name: np.full(runs, NEVER) for name in [*names, *["Bernstein of pairs"] * is_paired]}
    ours = theirs = None
    bernstein = [BernsteinSums.start(ALPHA / 2, runs) for _ in range(2)]
    pairs = BernsteinSums.start(ALPHA, runs)
    for look in range(1, LOOKS + 1):
        canary = _clicks(random, case.canary, LOOK_ROWS, runs)
        stable = _clicks(random, case.stable, LOOK_ROWS * case.stable_times, runs)
        ours, theirs = _added(ours, canary), _added(theirs, stable)
        bernstein = [
            sums.after(rows, _UNIT) for sums, rows in zip(bernstein, (canary, stable), strict=True)
        ]
        worse = _is_worse(Difference.of(ours, theirs))
        two_arms = bernstein_difference(bernstein[0], bernstein[1], _UNIT)
        worse["Bernstein of two arms"] = two_arms.high < 0
        if is_paired:
            pairs = pairs.after(canary - stable, _PAIRED)
            worse["Bernstein of pairs"] = pairs.interval(_PAIRED).high < 0
        now = float(look * LOOK_ROWS)
        stopped = {rule: first_moment(stopped[rule], worse[rule], now) for rule in stopped}
    return stopped


def _is_worse(difference: Difference) -> dict[str, Mask]:
    error = np.sqrt(difference.variance)
    worse: dict[str, Mask] = {
        rule: difference.value < -threshold * error for rule, threshold in _THRESHOLDS.items()
    }
    return worse | {"asymptotic sequence": asymptotic_interval(difference, ALPHA, N_OPT).high < 0}


def _clicks(random: np.random.Generator, rate: float, rows: int, runs: int) -> Doubles:
    return (random.random((rows, runs)) < rate).astype(np.float64)


def _added(sums: ColumnMoments | None, rows: Doubles) -> ColumnMoments:
    more = ColumnMoments.of(rows)
    return more if sums is None else sums.merged(more)


STEPS: Final = ((0.01, 0.06), (0.05, 0.05), (0.25, 0.04))
"""Share of the canary and rate of clicks in each step of a rollout, while rewards of both arms decline."""
_STEP_ROWS: Final = 40_000


def steps_table(runs: int, tick: Callable[[str], None]) -> Table:
    """Two ways to add up the steps of a rollout in which rewards decline for both arms alike."""
    random = np.random.default_rng(100)
    moments = {way: np.full(runs, NEVER) for way in ("steps compared apart", "arms pooled")}
    apart = pooled = None
    for number, (share, rate) in enumerate(STEPS, start=1):
        arms = [
            _binomial(random, rate, round(_STEP_ROWS * part), runs) for part in (share, 1 - share)
        ]
        step = Difference.of(arms[0], arms[1])
        apart = step if apart is None else apart.merged(step)
        pooled = (
            arms if pooled is None else [a.merged(b) for a, b in zip(pooled, arms, strict=True)]
        )
        for way, difference in zip(moments, (apart, Difference.of(*pooled)), strict=True):
            worse = asymptotic_interval(difference, ALPHA, N_OPT).high < 0
            moments[way] = first_moment(moments[way], worse, float(number))
    tick("canary: steps")
    return Table(
        "Canary whose share grows while rewards decline for all: rolled back",
        f"{runs:,} rollouts of an equal canary; of {_STEP_ROWS:,} decisions a step it has"
        f" {', '.join(f'{share:.0%}' for share, _ in STEPS)}, and clicks fall from .06 over .05 to .04.",
        [outcome(way, "alike", at, len(STEPS), has_changed=False) for way, at in moments.items()],
    )


def _binomial(random: np.random.Generator, rate: float, rows: int, runs: int) -> ColumnMoments:
    mean = random.binomial(rows, rate, runs) / rows
    return ColumnMoments(rows, mean, rows * mean * (1 - mean))
