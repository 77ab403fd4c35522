"""What may be said of a target policy: never a number alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from agent_core.evaluation.diagnostics import WeightSums
from agent_core.evaluation.moments import Estimate

Verdict: TypeAlias = Literal[
    "not enough evidence", "estimators disagree", "better", "not shown to be better"
]

_UNTRIED: Final = 0.01
"""Share of the target's actions that may be unknown: its value could be off by as much of the range of rewards."""
_ERRORS: Final = 3.0
"""Standard errors that chance explains: beyond them lies one in 370 of normal estimates."""


@dataclass(frozen=True, slots=True)
class Question:
    """`baseline`: the value to be better than. `effective_rows`: the smallest effective size of a log that may
    answer, above 10, where Student's interval begins to hold."""

    baseline: float
    effective_rows: float


@dataclass(frozen=True, slots=True)
class Report:
    """A verdict with all that it rests on. `reasons`: what was found and what was expected; empty if nothing
    speaks against the evidence."""

    verdict: Verdict
    reasons: tuple[str, ...]
    estimates: Mapping[str, Estimate]
    weights: WeightSums
    lower: float


def judged(
    question: Question, estimates: Mapping[str, Estimate], weights: WeightSums, lower: float
) -> Report:
    """`estimates`: by the names of their estimators, at least one. `weights`: sums of the ratios, of whole
    episodes where there are any. `lower`: the bound that must reach the baseline."""
    doubts, conflict = _doubts(question, weights), _conflict(estimates)
    if doubts:
        verdict: Verdict = "not enough evidence"
    elif conflict:
        verdict = "estimators disagree"
    else:
        verdict = "better" if lower > question.baseline else "not shown to be better"
    return Report(verdict, (*doubts, *conflict), estimates, weights, lower)


def _doubts(question: Question, weights: WeightSums) -> tuple[str, ...]:
    """Why the log cannot answer, whatever it says."""
    doubts = []
    if weights.effective_size < question.effective_rows:
        doubts.append(
            f"the log is worth {weights.effective_size:.1f} rows of the target policy's own, "
            f"of {question.effective_rows:g} needed; explore more or wait for more data"
        )
    expected = weights.expected_mean
    if abs(weights.mean - expected) > _ERRORS * weights.mean_error + 1e-9:
        is_known = weights.means is not None
        doubts.append(
            f"weights are {weights.mean:.6g} on average, not {expected:.6g} within {_ERRORS:g} standard errors "
            f"of {weights.mean_error:.4g}; propensities are wrong"
            + ("" if is_known else ", or the target does what was never tried")
        )
    if expected < 1 - _UNTRIED:
        doubts.append(
            f"of what the target does, {1 - expected:.1%} was never tried; let the behaviour policy explore more"
        )
    return tuple(doubts)


def _conflict(estimates: Mapping[str, Estimate]) -> tuple[str, ...]:
    """Two estimates whose intervals have no point in common, if there are any."""
    lows = {name: one.value - _ERRORS * one.standard_error for name, one in estimates.items()}
    highs = {name: one.value + _ERRORS * one.standard_error for name, one in estimates.items()}
    above, below = max(lows, key=lows.__getitem__), min(highs, key=highs.__getitem__)
    if lows[above] <= highs[below]:
        return ()
    return (
        f"{above} is above {lows[above]:.6g} and {below} below {highs[below]:.6g}, both within "
        f"{_ERRORS:g} standard errors; one is biased",
    )
