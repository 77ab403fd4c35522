"""From the sums of a whole log to a report: estimates, bounds, a verdict. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from agent_core.evaluation import slope
from agent_core.evaluation.betting import Tally, betting_lower
from agent_core.evaluation.bootstrap import (
    bootstrap_lower,
    plain_replicates,
    self_normalized_replicates,
)
from agent_core.evaluation.bounds import (
    empirical_bernstein_lower,
    student_t_lower,
    truncated_lower,
    truncation_limit,
)
from agent_core.evaluation.diagnostics import WeightSums
from agent_core.evaluation.magic import blend, blended
from agent_core.evaluation.moments import Estimate, plain
from agent_core.evaluation.verdict import Question, judged
from service.evaluation.batches import Refusals
from service.evaluation.constraints import Limit
from service.evaluation.estimators import Estimator
from service.evaluation.evidence import EDGES, PARTS, Constraint, Evidence, Plan
from service.evaluation.known import Known
from service.evaluation.overview import Overview
from service.evaluation.schemas import (
    BoundName,
    ConstraintReport,
    EstimateReport,
    EvaluationReport,
    EvaluationRequest,
    Moment,
    Verdict,
    WeightReport,
)

_FEWEST: Final = 11
"""Below it Student's quantile is not known, and nobody should ask for it."""
_EMPTY: Final = "the log has no row that can be used; look at what was left out, and why"


@dataclass(frozen=True, slots=True)
class Findings:
    """The question and the sums; without them no row could be used."""

    request: EvaluationRequest
    target: str
    known: Known
    estimators: tuple[Estimator, ...]
    limits: tuple[Limit, ...]
    refused: Refusals
    overview: Overview | None = None
    plan: Plan | None = None
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """An estimate, and where in its grid it stands."""

    estimate: Estimate
    place: int
    parameter: float | None


def report_of(findings: Findings) -> EvaluationReport:
    """The whole report."""
    overview, plan, evidence = findings.overview, findings.plan, findings.evidence
    if overview is None or plan is None or evidence is None:
        return _empty(findings)
    request = findings.request
    found = {one.name: _found(one, evidence) for one in plan.estimators}
    logged = plain(overview.returns)
    baseline = logged.value if request.baseline == "logged" else request.baseline
    bounds = _bounds(plan, evidence, found, request.delta)
    constraints = [
        _constraint(limit, one, i, evidence, findings)
        for i, (limit, one) in enumerate(zip(findings.limits, plan.constraints, strict=True))
    ]
    verdict, reasons = _verdict(findings, found, evidence.weights, bounds, baseline, constraints)
    return _report(
        findings,
        verdict,
        reasons,
        unit="episode" if plan.family == "episodes" else "decision",
        baseline=baseline,
        value=_finite(found[plan.estimators[0].name].estimate.value),
        lower=bounds[request.bound],
        discount=plan.discount,
        rows=overview.returns.count,
        decisions=overview.decisions,
        effective_rows=evidence.weights.effective_size,
        logged=logged.value,
        logged_error=_finite(logged.standard_error),
        estimates=[_estimate(one, found[one.name], request.delta) for one in plan.estimators],
        bounds=dict(bounds),
        weights=_weights(evidence),
        over_time=_over_time(plan, evidence),
        constraints=constraints,
    )


def _empty(findings: Findings) -> EvaluationReport:
    baseline = findings.request.baseline
    return _report(
        findings, "not enough evidence", [_EMPTY],
        unit="episode" if findings.estimators[0].family == "episodes" else "decision",
        baseline=None if baseline == "logged" else baseline,
        value=None, lower=None, discount=findings.known.discount, rows=0, decisions=0, effective_rows=0.0,
        logged=None, logged_error=None, estimates=[], bounds={}, weights=None, over_time=[], constraints=[],
    )  # fmt: skip


def _report(
    findings: Findings, verdict: Verdict, reasons: list[str], **numbers: object
) -> EvaluationReport:
    request, refused = findings.request, findings.refused
    everything: dict[str, object] = {
        "policy": request.policy,
        "target": findings.target,
        "log": findings.known.log,
        "verdict": verdict,
        "reasons": reasons,
        "bound": request.bound,
        "delta": request.delta,
        "effective_rows_needed": request.effective_rows,
        "refused": list(refused.rows),
        "skipped": dict(sorted(refused.counts.items())),
        "since": request.since,
        "until": request.until,
        "reward_weights": request.weights,
        "seed": request.seed,
    }
    return EvaluationReport(**everything, **numbers)  # type: ignore[arg-type]  # both are written above


# -- estimates -------------------------------------------------------------------------------------


def _found(estimator: Estimator, evidence: Evidence) -> _Found:
    if "partial" in estimator.needs:
        return _Found(_magic(evidence), 0, None)
    lines = [
        estimator.average(evidence.moments[estimator.name, i]) for i in range(len(estimator.grid))
    ]
    if len(lines) == 1:
        return _Found(lines[0], 0, None)
    place = _chosen(lines)
    return _Found(lines[place], place, estimator.grid[place])


def _chosen(lines: list[Estimate]) -> int:
    """The place of the estimate to believe; the first where none says anything."""
    value = np.array([one.value for one in lines])
    width = np.array([2 * one.standard_error for one in lines])
    says = np.flatnonzero(np.isfinite(value) & np.isfinite(width))
    if not len(says):
        return 0
    return int(says[slope.chosen(value[says], width[says], np.arange(len(says)))])


def _magic(evidence: Evidence) -> Estimate:
    partial, sums = evidence.partial, evidence.partial_replicates
    assert partial is not None and sums is not None, "it was asked for"  # noqa: PT018
    if partial.count < 2:
        return Estimate(math.nan, math.nan, partial.count)
    return blended(partial, blend(partial, plain_replicates(sums)))


def _estimate(estimator: Estimator, found: _Found, delta: float) -> EstimateReport:
    estimate = found.estimate
    error = _finite(estimate.standard_error)
    low = _student(estimate, delta / 2)
    high = None if low is None else 2 * estimate.value - low
    return EstimateReport(
        estimator=estimator.name,
        value=_finite(estimate.value),
        standard_error=error,
        low=low,
        high=high,
        is_biased=estimator.is_biased,
        parameter=found.parameter,
    )


def _student(estimate: Estimate, delta: float) -> float | None:
    return None if estimate.count < _FEWEST else _finite(student_t_lower(estimate, delta))


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


# -- bounds ----------------------------------------------------------------------------------------


def _bounds(
    plan: Plan, evidence: Evidence, found: Mapping[str, _Found], delta: float
) -> dict[BoundName, float | None]:
    """Each is on what inverse propensity weights add, but for the two of the first estimator."""
    selection, test = evidence.tallies
    first = plan.estimators[0]
    primary = found[first.name]
    whole = selection.merged(test)
    return {
        "betting": _shifted(betting_lower, whole, delta, plan.least),
        "student_t": _student(primary.estimate, delta),
        "bootstrap": _bootstrapped(first, primary.place, evidence, delta),
        "empirical_bernstein": _shifted(_bernstein, whole, delta, plan.least),
        "hcope": _truncated(selection, test, delta, plan.least),
    }


def _shifted(
    bound: Callable[[Tally, float], float], tally: Tally, delta: float, least: float
) -> float | None:
    """`bound` of a value from which the least was taken off."""
    if tally.counts.sum() < _FEWEST:
        return None
    return _finite(bound(tally, delta) + least)


def _bernstein(tally: Tally, delta: float) -> float:
    """Supposes that no row can add more than the largest that was seen."""
    rows = int(tally.counts.sum())
    mean = float(tally.counts @ tally.values) / rows
    variance = float(tally.counts @ (tally.values - mean) ** 2) / (rows - 1)
    width = float(tally.values.max())
    return empirical_bernstein_lower(Estimate(mean, variance, rows), width, delta)


def _truncated(selection: Tally, test: Tally, delta: float, least: float) -> float | None:
    rows = int(test.counts.sum())
    if rows < _FEWEST or selection.counts.sum() < 2:
        return None
    limit = truncation_limit(selection.values, rows, delta, selection.counts)
    return _finite(truncated_lower(test.values, limit, delta, test.counts) + least)


def _bootstrapped(first: Estimator, place: int, evidence: Evidence, delta: float) -> float | None:
    if "partial" in first.needs:
        return None
    sums = evidence.replicates[first.name, place]
    replicates = plain_replicates if first.average is plain else self_normalized_replicates
    return _finite(bootstrap_lower(replicates(sums), delta))


# -- verdict ---------------------------------------------------------------------------------------


def _verdict(
    findings: Findings,
    found: Mapping[str, _Found],
    weights: WeightSums,
    bounds: Mapping[BoundName, float | None],
    baseline: float,
    constraints: list[ConstraintReport],
) -> tuple[Verdict, list[str]]:
    request = findings.request
    biased = {one.name for one in findings.estimators if one.is_biased}
    # Whose bias is meant is no witness, except of itself.
    heard = {
        name: one.estimate
        for name, one in found.items()
        if name not in biased and math.isfinite(one.estimate.standard_error)
    } or {findings.estimators[0].name: found[findings.estimators[0].name].estimate}
    bound = bounds[request.bound]
    lower = -math.inf if bound is None else bound
    report = judged(Question(baseline, request.effective_rows), heard, weights, lower)
    reasons = list(report.reasons)
    if report.verdict == "not shown to be better":
        said = "says nothing" if bound is None else f"is {bound:.6g}"
        reasons.append(f"the {request.bound} bound {said}, and the baseline is {baseline:.6g}")
    broken = [one for one in constraints if not one.holds]
    if report.verdict == "not enough evidence" or not broken:
        return report.verdict, reasons
    return "no solution found", reasons + [_broken(one) for one in broken]


def _broken(one: ConstraintReport) -> str:
    upper = "is not known" if one.upper is None else f"may be up to {one.upper:.6g}"
    return f"`{one.constraint}` is not shown to hold: the upper bound {upper}"


def _constraint(
    limit: Limit, one: Constraint, place: int, evidence: Evidence, findings: Findings
) -> ConstraintReport:
    """Judged on the part of the log on which nothing was chosen."""
    delta = findings.request.delta
    selection, test = evidence.limits[place]
    uppers = [_upper(tally, one.most, delta) for tally in (selection, test)]
    sums = evidence.metrics[:, place].tolist()
    values = [total / rows if rows else None for total, rows in sums]
    upper = uppers[1]
    return ConstraintReport(
        constraint=limit.text,
        limit=limit.limit,
        expected=_turned(_inflated(values[0], uppers[0], selection, test), limit.sign),
        value=_turned(values[1], limit.sign),
        upper=_turned(upper, limit.sign),
        holds=upper is not None and upper <= one.limit,
        assumed=one.is_assumed,
    )


def _upper(tally: Tally, most: float, delta: float) -> float | None:
    """An upper bound on a metric is the most that it can be, less a lower bound on what it leaves to that."""
    left = _shifted(betting_lower, tally, delta, 0.0)
    return None if left is None else most - left


def _inflated(
    value: float | None, upper: float | None, selection: Tally, test: Tally
) -> float | None:
    """What the test part will say, by twice the width that its size lets expect (Thomas et al. 2019)."""
    rows = int(test.counts.sum())
    if value is None or upper is None or not rows:
        return None
    shrunk = math.sqrt(int(selection.counts.sum()) / rows)
    return value + 2 * (upper - value) * shrunk


def _turned(number: float | None, sign: float) -> float | None:
    return None if number is None else sign * number


# -- pictures --------------------------------------------------------------------------------------


def _weights(evidence: Evidence) -> WeightReport:
    weights = evidence.weights
    return WeightReport(
        mean=weights.mean,
        mean_error=weights.mean_error,
        largest=weights.largest,
        overlap=weights.overlap,
        edges=EDGES.tolist(),
        histogram=evidence.histogram.tolist(),
    )


def _over_time(plan: Plan, evidence: Evidence) -> list[Moment]:
    begin, end = plan.span_ms
    ends_ms = [begin + (end - begin + 1) * (part + 1) // PARTS for part in range(PARTS)]
    sums = evidence.times.cumsum(0)
    return [
        Moment(
            until_ms=until_ms,
            rows=int(rows),
            effective_rows=float(total**2 / squares) if squares else 0.0,
            value=float(earned / weight) if weight else None,
            logged=float(worth / rows) if rows else None,
        )
        for until_ms, (rows, weight, _, earned, worth), (_, total, squares, _, _) in zip(
            ends_ms, evidence.times.tolist(), sums.tolist(), strict=True
        )
    ]
