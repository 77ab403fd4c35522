"""What the learner decides. No Redis, no clock, no weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from service.clock import rfc3339
from service.learning.schemas import DataRange, Job, JobReport, JobRequest, JobStart, Published
from service.learning.training import PolicyTraining
from service.policies.repository import VersionDescription


def stream_order(entry_id: str) -> tuple[int, int]:
    """Orders ids of stream entries: `9-1` comes before `10-0`."""
    ms, _, sequence = entry_id.partition("-")
    return int(ms), int(sequence or 0)


def learned_by(versions: Sequence[VersionDescription], replay_id: str) -> list[int]:
    """The versions whose data range contains an entry of the replay stream.

    Learning accumulates, so these are all versions from the first that saw it on.
    """
    at = stream_order(replay_id)
    return [
        one.version
        for one in versions
        if one.first and stream_order(one.first) <= at <= stream_order(one.last)
    ]


def oldest_kept(versions: Sequence[int], keep: int) -> int:
    """The oldest of the `keep` newest versions: those before it may be forgotten."""
    return sorted(versions)[-keep:][0]


def is_news(training: PolicyTraining, published: Published | None) -> bool:
    """Whether the training knows more than the version published last.

    After a restart it may know less for a while: what it had read since its checkpoint.
    """
    if published is None:
        return training.experience > 0
    now = (training.progress.offset, training.updates)
    return now > (published.offset, published.updates) and training.experience > 0


# -- learn jobs --------------------------------------------------------------------------------------


def begin(
    request: JobRequest, training: PolicyTraining, lineage: int, appended: int, now_ms: int
) -> JobReport:
    """Takes a job up; `appended` counts the entries that the stream has got by now.

    New is what was not learned when the job was asked for, or came since.
    """
    here, wanted = training.progress, request.until.new_transitions
    is_ahead = here.offset > request.appended
    offset = request.appended if is_ahead else here.offset
    start = JobStart(
        lineage=lineage,
        position=request.newest if is_ahead else here.position,
        offset=offset,
        goal=max(appended, offset) if wanted is None else offset + wanted,
        updates=training.updates,
        passed=_passed(training),
    )
    return JobReport("running", started_ms=now_ms, start=start)


def _passed(training: PolicyTraining) -> dict[str, int]:
    """Entries that taught nothing, by reason."""
    return {**training.progress.skipped, "missed": training.progress.missed}


def is_late(request: JobRequest, report: JobReport, now_ms: int) -> bool:
    """Whether the job's time is over."""
    assert report.started_ms is not None, "a job runs from its start"
    return now_ms >= report.started_ms + request.until.max_seconds * 1000


def entries_wanted(report: JobReport, training: PolicyTraining) -> int:
    """How many entries the job has yet to read; 0 or less when it has read enough."""
    assert report.start is not None, "a running job has a start"
    return report.start.goal - training.progress.offset


def finished(
    report: JobReport,
    training: PolicyTraining,
    now_ms: int,
    *,
    verdict: str,
    metrics: Mapping[str, float] | None = None,
    candidate: int | None = None,
) -> JobReport:
    """The report of a job that has come to its end."""
    start = report.start
    assert start is not None, "a running job has a start"
    updates = float(max(0, training.updates - start.updates))
    return replace(
        report,
        status="done",
        finished_ms=now_ms,
        data=DataRange(
            start.position, training.progress.position, transitions_since(start, training)
        ),
        skipped=_passed_since(start, training),
        metrics={**(metrics or {}), "updates": updates},
        candidate=candidate,
        verdict=verdict,
    )


def transitions_since(start: JobStart, training: PolicyTraining) -> int:
    """Entries learned from since a job began."""
    read = training.progress.offset - start.offset
    return max(0, read - sum(_passed_since(start, training).values()))


def _passed_since(start: JobStart, training: PolicyTraining) -> dict[str, int]:
    return dict(Counter(_passed(training)) - Counter(start.passed))


def job_view(request: JobRequest, report: JobReport) -> Job:
    """A job as the API shows it."""
    return Job(
        job_id=request.job_id,
        policy=request.policy,
        status=report.status,
        until=request.until,
        promote=request.promote,
        dry_run=request.dry_run,
        created_at=rfc3339(request.created_ms),
        started_at=None if report.started_ms is None else rfc3339(report.started_ms),
        finished_at=None if report.finished_ms is None else rfc3339(report.finished_ms),
        data=report.data,
        skipped=report.skipped,
        metrics=report.metrics,
        candidate=None if report.candidate is None else f"{request.policy}@{report.candidate}",
        verdict=report.verdict,
    )
