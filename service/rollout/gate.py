"""Whether what evaluation found lets a candidate into its canary. Pure.

    no evaluation yet            asked for once the live version and the log have rewards enough to answer
    better than the baseline     go; the bound holds at every look, so asking again costs no certainty
    surely worse                 stop: no estimator's interval reaches the baseline
    anything else                the candidate stays in the shadow; asked again when the log has grown
    out of patience              stop

The baseline is the mean reward of the live version since the candidate was made, less the declared margin; for
policies with episodes, the mean of the log in that time. Only decisions made after the candidate was are evaluated: it has learned from those before, and would look better on
them than it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from service.evaluation.schemas import EvaluationJob, EvaluationReport, EvaluationRequest
from service.policies.config import PolicyConfig
from service.rollout.logic import GateState
from service.rollout.rule import GateRule
from service.rollout.sums import RolloutSums


@dataclass(frozen=True, slots=True)
class Standing:
    """What the log holds. `rewards`: of decisions made after the candidate was. `grown`: how many times as many
    these are as at the last evaluation. `live_mean`: reward of the live version since then, over `live_rewards`
    decisions."""

    rewards: int
    grown: float
    live_mean: float
    live_rewards: int

    @classmethod
    def of(cls, sums: RolloutSums, candidate: int, live: int) -> Standing:
        mean, count = sums.mean_of(live, candidate)
        return cls(sums.rewards_since(candidate), sums.grown(candidate), mean, count)


class Finding(NamedTuple):
    """How the gate stands, and why."""

    state: GateState
    why: str


def request_for(
    config: PolicyConfig, candidate: int, made_at: str, standing: Standing, rule: GateRule
) -> EvaluationRequest:
    """The evaluation that the gate asks for. `made_at`: RFC 3339, of the candidate."""
    # Episodes are evaluated as wholes, and the log of joined rewards knows decisions only.
    has_episodes = config.episodes is not None
    return EvaluationRequest(
        policy=config.policy,
        target=str(candidate),
        baseline="logged" if has_episodes else standing.live_mean - rule.margin,
        delta=rule.delta,
        effective_rows=rule.effective_rows,
        since=made_at,
        constraints=list(rule.constraints),
    )


def find(
    job: EvaluationJob | None, standing: Standing, rule: GateRule, *, is_out_of_patience: bool
) -> Finding:
    """`job`: the last evaluation of the candidate, None if there is none."""
    if job is None:
        found = _first(standing, rule)
    elif job.status in ("queued", "running"):
        return Finding("waiting", f"evaluation {job.job_id} is {job.status}")
    elif job.report is None:
        found = _again(f"evaluation {job.job_id} failed: {job.error}", standing, rule)
    elif _is_good(job.report, needed := _needed(job, rule)):
        return Finding("go", _words(job.report))
    elif _is_surely_worse(job.report, needed):
        return Finding("stop", f"{_words(job.report)}: surely worse")
    else:
        reasons = "; ".join([job.report.verdict, *job.report.reasons])
        found = _again(f"{_words(job.report)}: {reasons}", standing, rule)
    if is_out_of_patience:
        return Finding("stop", f"out of patience; {found.why}")
    return found


def _first(standing: Standing, rule: GateRule) -> Finding:
    needed = rule.effective_rows
    if standing.live_rewards < needed:
        why = f"the live version has {standing.live_rewards} rewards of {needed:g} needed"
        return Finding("waiting", why)
    if standing.rewards < needed:
        why = f"decisions made after the candidate have {standing.rewards} rewards of {needed:g} needed"
        return Finding("waiting", why)
    return Finding("unasked", f"evaluated on {standing.rewards} rewards")


def _again(why: str, standing: Standing, rule: GateRule) -> Finding:
    if standing.grown >= rule.growth:
        return Finding("unasked", f"{why}; asked again, the log has grown")
    return Finding(
        "waiting", f"{why}; asked again when the log has {rule.growth:g} times the rewards"
    )


def _needed(job: EvaluationJob, rule: GateRule) -> float:
    """What the candidate must reach; what was asked for has the margin in it, the mean of the log has not."""
    assert job.report is not None, "the job is done"
    baseline = math.inf if job.report.baseline is None else job.report.baseline
    return baseline - rule.margin if job.request.baseline == "logged" else baseline


def _is_good(report: EvaluationReport, needed: float) -> bool:
    """Whether nothing speaks against the evidence, and the lower bound is reached."""
    has_answer = report.verdict in ("better", "not shown to be better")
    return has_answer and report.lower is not None and report.lower >= needed


def _is_surely_worse(report: EvaluationReport, needed: float) -> bool:
    """Whether the log has an answer, and no interval that can be trusted reaches what is needed."""
    highs = [one.high for one in report.estimates if one.high is not None and not one.is_biased]
    has_answer = report.verdict == "not shown to be better" and math.isfinite(needed)
    return has_answer and bool(highs) and max(highs) < needed


def _words(report: EvaluationReport) -> str:
    lower, baseline = (_number(one) for one in (report.lower, report.baseline))
    return (
        f"lower bound {lower} against {baseline}, "
        f"on {report.rows} rows worth {report.effective_rows:.1f} of its own"
    )


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"
