"""A log and a target to a report, in two passes over shards, whoever works on them.

    source -> batches -> survey: the target answers, columns are kept in files ─┐
                          models, ranges, weights of steps <── sums ────────────┤
    files  -> evidence: estimates, bounds, pictures <── sums ───────────────────┘ -> report

Memory holds one batch for each worker, and sums that do not grow with the log. The result does not depend on how
the log is cut, but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial, reduce
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from agent_core.features.near_miss import near_miss
from service.evaluation.batches import Batch, Log, Refusals
from service.evaluation.columns import Columns
from service.evaluation.constraints import Limit, parsed
from service.evaluation.errors import EvaluationError
from service.evaluation.estimators import Estimator, Family, chosen_estimators, needs_of
from service.evaluation.evidence import Constraint, Evidence, Plan, lengths_of
from service.evaluation.findings import Findings, report_of
from service.evaluation.known import Known
from service.evaluation.models import fitted
from service.evaluation.overview import Overview, survey
from service.evaluation.parallel import Run, in_turn
from service.evaluation.schemas import EvaluationReport, EvaluationRequest
from service.evaluation.steps import LoggedStep, Source
from service.evaluation.targets import Target, is_continuous

_SELECTION = 0.2
"""As in Thomas, Theocharous & Ghavamzadeh 2015b: four fifths are left for the test."""


def _unheard(_: int) -> None:
    """Nobody wants to know how far it is."""


def evaluate(
    source: Source,
    target: Target,
    request: EvaluationRequest,
    known: Known,
    *,
    run: Run = in_turn,
    tell: Callable[[int], None] = _unheard,
    size: int = 2000,
) -> EvaluationReport:
    """Answers `request`. `tell`: hears how many rows have been read. `size`: decisions in a shard.

    Raises:
        EvaluationError: an estimator or constraint makes no sense, or no row of the log can be used.
    """
    limits = tuple(parsed(one) for one in request.constraints)
    log = Log(source, size)
    if log.first is None:
        suited: Family = "decisions"
    else:
        suited = _suited(log.first)
    estimators = chosen_estimators(request.estimators, suited)
    with TemporaryDirectory(prefix="nacre-evaluation-") as folder:
        shards = _Shards(Path(folder), run, tell)
        asked = _Asked(target, estimators, limits, known)
        overview, refusals = shards.surveyed(log, asked)
        refused = _skipped(source, refusals)
        if overview is None:
            return report_of(Findings(request, target.name, known, estimators, limits, refused))
        _check(asked, overview)
        plan = _plan(asked, overview, request)
        evidence = shards.evidence(plan)
    findings = Findings(
        request, target.name, known, estimators, limits, refused, overview, plan, evidence
    )
    return report_of(findings)


def _suited(first: LoggedStep) -> Family:
    """What a log is cut into unless asked otherwise."""
    if is_continuous(first):
        return "kernels"
    return "decisions" if first.place is None else "episodes"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the first pass is about."""

    target: Target
    estimators: tuple[Estimator, ...]
    limits: tuple[Limit, ...]
    known: Known

    @property
    def family(self) -> Family:
        return self.estimators[0].family

    @property
    def discount(self) -> float:
        return self.known.discount if self.family == "episodes" else 1.0


@dataclass(slots=True)
class _Shards:
    """The parts of a log as files of columns."""

    folder: Path
    run: Run
    tell: Callable[[int], None]
    paths: list[Path] = field(default_factory=list)

    def surveyed(self, log: Log, asked: _Asked) -> tuple[Overview | None, Refusals]:
        """The first pass; None if no row can be used."""
        refusals, overview = Refusals(), None
        if log.first is None:
            return None, refusals
        work = partial(
            _survey_to_file,
            folder=self.folder,
            target=asked.target,
            metrics=tuple(one.metric for one in asked.limits),
            needs=needs_of(asked.estimators),
            discount=asked.discount,
        )
        batches = log.batches(by_episode=asked.family == "episodes", refusals=refusals)
        for path, part, left_out, read in self.run(work, batches):
            refusals.extend(left_out)
            if path is not None and part is not None:
                self.paths.append(path)
                overview = part if overview is None else overview.merged(part)
            self.tell(read)
        return overview, refusals

    def evidence(self, plan: Plan) -> Evidence:
        """The second pass, over what the first one kept."""
        return reduce(Evidence.merged, self._parts(plan))

    def _parts(self, plan: Plan) -> Iterator[Evidence]:
        return self.run(partial(_evidence_of_file, plan=plan), self.paths)


def _survey_to_file(
    batch: Batch,
    folder: Path,
    target: Target,
    metrics: tuple[str, ...],
    needs: frozenset[str],
    discount: float,
) -> tuple[Path | None, Overview | None, Refusals, int]:
    found = survey(batch, target, metrics, needs, discount)
    if found.columns is None:
        return None, None, found.refusals, found.read
    path = folder / f"{batch.number}.npz"
    found.columns.save(path)
    return path, found.overview, found.refusals, found.read


def _evidence_of_file(path: Path, plan: Plan) -> Evidence:
    return Evidence.of(Columns.load(path), plan)


def _check(asked: _Asked, overview: Overview) -> None:
    """
    Raises:
        EvaluationError: the log lacks what an estimator or a constraint needs.
    """
    if "likeness" in needs_of(asked.estimators) and overview.unknown:
        raise EvaluationError(
            f"`mips` needs the logged probabilities of all actions, which {overview.unknown} of "
            f"{overview.decisions} decisions lack; leave it out, or log `probabilities`"
        )
    there_are = overview.components | asked.known.components | {"cost", "reward"}
    for limit in asked.limits:
        if limit.metric not in there_are:
            hint = near_miss(limit.metric, there_are) or f"there are {', '.join(sorted(there_are))}"
            raise EvaluationError(f"`{limit.text}`: no decision has a `{limit.metric}`; {hint}")


def _skipped(source: Source, refusals: Refusals) -> Refusals:
    """All that was left out, by the source and here."""
    everything = Refusals()
    everything.extend(Refusals(list(source.refused)))
    everything.counts.update(source.skipped)
    everything.extend(refusals)
    return everything


def _plan(asked: _Asked, overview: Overview, request: EvaluationRequest) -> Plan:
    needs, units = needs_of(asked.estimators), overview.returns.count
    return Plan(
        names=tuple(one.name for one in asked.estimators),
        family=asked.family,
        models=fitted(overview.models, needs, asked.discount, overview.longest),
        discount=asked.discount,
        whole=overview.whole,
        running=overview.running,
        episodes_per_step=units / overview.decisions,
        scale=overview.scale,
        # The usual width for a mean of so many rows (Silverman 1986), which has not seen a reward.
        bandwidth=1.06 * overview.scale * units ** (-1 / (4 + len(overview.scale))),
        least=_least(asked, overview),
        selection=_SELECTION,
        constraints=tuple(
            _constraint(i, one, overview, asked.known, is_summed=asked.family == "episodes")
            for i, one in enumerate(asked.limits)
        ),
        span_ms=overview.span_ms,
        lengths=lengths_of(overview.longest) if "partial" in needs else np.zeros(0, np.int64),
        seed=request.seed,
    )


def _least(asked: _Asked, overview: Overview) -> float:
    """The smallest that a unit can be worth: as declared, else the smallest that was seen, or 0."""
    seen, declared = float(overview.reward.low[0]), asked.known.least
    if asked.family != "episodes":
        return min(seen, 0.0 if declared is None else declared)
    is_never_negative = min(seen, 0.0 if declared is None else declared) >= 0
    return 0.0 if is_never_negative else min(0.0, float(overview.total.low[0]))


def _constraint(
    column: int, limit: Limit, overview: Overview, known: Known, *, is_summed: bool
) -> Constraint:
    """A lower limit of a metric is an upper one of its negative."""
    seen = overview.metrics.high[column] if limit.sign > 0 else -overview.metrics.low[column]
    declared = known.most.get(limit.metric)
    # What is declared is of one decision, and an episode adds up many.
    is_assumed = declared is None or limit.sign < 0 or is_summed
    most = float(seen) if declared is None or is_assumed else max(declared, float(seen))
    return Constraint(column, limit.sign, limit.sign * limit.limit, most, is_assumed)
