"""The wire contract of evaluations, what Redis keeps of a job, and the report that all forms share."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from service.decisions.schemas import Id, Strict
from service.evaluation.steps import RefusedRow
from service.feedback.schemas import Amount

JobStatus = Literal["queued", "running", "done", "failed"]
Verdict = Literal[
    "better",
    "not shown to be better",
    "estimators disagree",
    "not enough evidence",
    "no solution found",
]
BoundName = Literal["betting", "empirical_bernstein", "student_t", "bootstrap", "hcope"]

Delta = Annotated[float, Meta(ge=1e-9, lt=0.5)]
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class EvaluationRequest(Strict, frozen=True):
    """Asks what a policy would have earned on the decisions of a log.

    `target`: a version, as `7` or `digits@7`, or `uniform`, `behaviour`, `logged`. `greedy`: without its
    exploration. `kind`: of decisions, the policy's own or those that another system told it of. `baseline`: the value to be better than, per decision or per episode; `logged` is the mean of
    the log. `estimators`: by name; none asks for those that suit the log. `delta`: how often a bound may be
    wrong. `bound`: the one that must reach the baseline. `effective_rows`: what the log must be worth.
    `since`, `until`: RFC 3339, of decisions. `weights`: of the components of rewards, in place of the policy's.
    `constraints`: such as `cost<=0.1`; all must hold. `seed`: of the bootstrap and of the split.
    """

    target: Annotated[str, Meta(min_length=1, max_length=256)]
    policy: Id | None = None
    greedy: bool = False
    kind: Literal["decision", "shadow"] = "decision"
    baseline: float | Literal["logged"] = "logged"
    estimators: Annotated[list[str], Meta(max_length=32)] = []
    delta: Delta = 0.05
    bound: BoundName = "betting"
    effective_rows: Annotated[float, Meta(ge=11, le=1e12)] = 100.0
    since: str | None = None
    until: str | None = None
    weights: Annotated[dict[Id, Amount], Meta(max_length=64)] | None = None
    constraints: Annotated[list[Id], Meta(max_length=32)] = []
    seed: Seed = 0


class EstimateReport(Struct, frozen=True, kw_only=True):
    """One estimator. `value`, `low`, `high`: of the target, with Student's interval of both sides at `delta`
    together; null where the log says nothing. `is_biased`: whether it trades bias for variance, which its interval
    does not know. `parameter`: what SLOPE chose, where it had a choice."""

    estimator: str
    value: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    is_biased: bool
    parameter: float | None = None


class WeightReport(Struct, frozen=True, kw_only=True):
    """Of the ratios of both policies: `mean` is 1 but for chance. `overlap`: in [0, 1], 1 for equal policies.
    `histogram`: rows with a ratio of 0, then those below each of `edges`, then the others."""

    mean: float
    mean_error: float
    largest: float
    overlap: float
    edges: list[float]
    histogram: list[int]


class Moment(Struct, frozen=True, kw_only=True):
    """A part of the time that the log spans, in order. `until_ms`: its end. `rows`: in it. `effective_rows`: of
    the log up to its end. `value`: of the target in it, self-normalized; null where nothing is known. `logged`:
    what the log earned in it."""

    until_ms: int
    rows: int
    effective_rows: float
    value: float | None
    logged: float | None


class ConstraintReport(Struct, frozen=True, kw_only=True):
    """One constraint, in the form `upper(metric) <= limit`, where a lower limit is turned around. `expected`:
    the upper bound that the selection part let expect. `value`, `upper`: of the test part. `assumed`: the
    largest value that there may be was taken from the log because none is declared."""

    constraint: str
    limit: float
    expected: float | None
    value: float | None
    upper: float | None
    holds: bool
    assumed: bool


class EvaluationReport(Struct, frozen=True, kw_only=True):
    """A verdict with all that it rests on.

    `unit`: what values are of. `value`: of the first estimator. `lower`: the bound that was asked for; `bounds`:
    every one, null where it says nothing. `logged`, `logged_error`: what the log earned, and its standard
    error. `rows`: units that were used; `decisions`: within them. `effective_rows`: what they are worth.
    `refused`: the first hundred rows that could not be used; `skipped`: all that were left out, by reason.
    """

    policy: str | None
    target: str
    log: str
    verdict: Verdict
    reasons: list[str]
    unit: Literal["decision", "episode"]
    baseline: float | None
    value: float | None
    lower: float | None
    bound: BoundName
    delta: float
    discount: float
    rows: int
    decisions: int
    effective_rows: float
    effective_rows_needed: float
    logged: float | None
    logged_error: float | None
    estimates: list[EstimateReport]
    bounds: dict[str, float | None]
    weights: WeightReport | None
    over_time: list[Moment]
    constraints: list[ConstraintReport]
    refused: list[RefusedRow]
    skipped: dict[str, int]
    since: str | None
    until: str | None
    reward_weights: dict[str, float] | None
    seed: int


class EvaluationJob(Struct, frozen=True, kw_only=True):
    """An evaluation as it stands. Times are RFC 3339. `asked_by`: the name of the key. `attempts`: how often a
    worker took it up."""

    job_id: str
    policy: str
    status: JobStatus
    request: EvaluationRequest
    asked_by: str
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    attempts: int = 0
    report: EvaluationReport | None = None
    error: str = ""


class EvaluationsView(Struct, frozen=True):
    """The newest evaluations of a policy, newest first, without their reports."""

    evaluations: list[EvaluationJob]
