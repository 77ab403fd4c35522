"""The wire contract of /learn, and what Redis keeps of a job."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from service.decisions.schemas import Id, Strict

Promotion = Literal["none", "live", "gate", "canary"]
"""What becomes of a new version: a candidate that waits, live at once, or on its way by a rollout that begins at
the gate or in the canary."""
JobStatus = Literal["queued", "running", "done", "failed", "cancelled"]


class Until(Strict, frozen=True):
    """When a job has learned enough: at the first that is met.

    `new_transitions`: that many are learned which were not before; absent means all that wait when
    the job begins. `max_steps`: gradient updates on the replay, besides those that new transitions
    bring. `max_seconds`: then it publishes what it has.
    """

    new_transitions: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None
    max_steps: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    max_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 600.0


class LearnRequest(Strict, frozen=True):
    """Asks for learning now. `promote`: what becomes of the new version. `dry_run`: only says what there is
    to learn."""

    policy: Id | None = None
    until: Until = Until()
    promote: Promotion = "none"
    dry_run: bool = False


class DataRange(Struct, frozen=True):
    """What a job read of the replay stream: the entries after `after`, up to `last`; `transitions` of
    them can be learned from."""

    after: str
    last: str
    transitions: int


class Job(Struct, frozen=True, kw_only=True):
    """A learn job as it stands. Times are RFC 3339.

    `skipped`: entries that taught nothing, by reason. `candidate`: the version that it published.
    `verdict`: why it ended, and what became of the candidate.
    """

    job_id: str
    policy: str
    status: JobStatus
    until: Until
    promote: Promotion
    dry_run: bool
    created_at: str
    started_at: str | None
    finished_at: str | None
    data: DataRange | None
    skipped: dict[str, int]
    metrics: dict[str, float]
    candidate: str | None
    verdict: str | None


class JobRequest(Struct, frozen=True):
    """What the API stores. `newest`, `appended`: the newest entry of the replay stream at that moment,
    and how many there were up to it: what comes later is new, even before a learner looks."""

    job_id: str
    policy: str
    until: Until
    promote: Promotion
    dry_run: bool
    created_ms: int
    newest: str
    appended: int


class JobStart(Struct, frozen=True):
    """Where a job began: survives the learner that took it up.

    `position`, `offset`: in the replay stream, the end of what was not new. `goal`: the offset at which
    it has read enough. `updates`, `passed`: counters of the training at that moment; `passed` are the
    entries that taught nothing, by reason.
    """

    lineage: int
    position: str
    offset: int
    goal: int
    updates: int
    passed: dict[str, int]


class JobReport(Struct, frozen=True):
    """What the learner stores."""

    status: JobStatus = "queued"
    started_ms: int | None = None
    finished_ms: int | None = None
    start: JobStart | None = None
    data: DataRange | None = None
    skipped: dict[str, int] = {}
    metrics: dict[str, float] = {}
    candidate: int | None = None
    verdict: str | None = None


class LearnerStatus(Struct, frozen=True, kw_only=True):
    """What the learner last said of itself.

    `position`: the last replay entry that it has read. `checkpoint`: the last one that it need not read
    again after a crash. `missed`: entries that were trimmed before it read them. `refused`: why it does
    not train or publish, or empty.
    """

    at_ms: int = 0
    lineage: int = 0
    position: str = ""
    checkpoint: str = ""
    experience: int = 0
    updates: int = 0
    missed: int = 0
    skipped: dict[str, int] = {}
    refused: str = ""


class Published(Struct, frozen=True):
    """What went into the version published last. `offset`: entries of the replay stream behind it."""

    lineage: int
    version: int
    offset: int
    updates: int
