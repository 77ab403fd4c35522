"""Carries out learn jobs, one at a time, for the learner that holds the policy.

    queued -> running: reads up to its goal (the session does), then makes the extra updates that it
    asked for, keeps a checkpoint that names the job, publishes -> done

A learner that dies in between leaves the job running; the next one goes on from the checkpoint.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from typing import Final, Literal

import structlog
from msgspec.structs import replace

from service.clock import now_ms
from service.errors import ServiceError
from service.learning.logic import begin, entries_wanted, finished, is_late, transitions_since
from service.learning.model import Model
from service.learning.repository import LearningRepository
from service.learning.schemas import DataRange, JobReport, JobRequest
from service.learning.training import examine
from service.policies.config import PolicyConfig
from service.policies.repository import PolicyRepository
from service.replay.repository import ReplayRepository
from service.repository import PolicyKeys
from service.rollout.moves import start

log = structlog.get_logger(__name__)

_SLICE: Final = 20
"""Extra updates in one turn: about 40 ms of a small network, so that other policies are not kept waiting."""
_BLOCK: Final = 1000


class JobRunner:
    """The job of one policy, if it has one."""

    def __init__(
        self,
        keys: PolicyKeys,
        learning: LearningRepository,
        replay: ReplayRepository,
        policies: PolicyRepository,
        lineage: int,
    ) -> None:
        self._keys = keys
        self._learning = learning
        self._replay = replay
        self._policies = policies
        self._lineage = lineage
        self._job: tuple[JobRequest, JobReport] | None = None
        self._steps: int | None = None

    @property
    def is_between_updates(self) -> bool:
        """Whether some of the extra updates are made and some are not: no moment for a checkpoint, nor
        for a version."""
        return self._steps is not None

    async def look(self, model: Model) -> None:
        """Takes up a job that waits, or that a learner left behind."""
        found = await self._learning.current(self._keys)
        if found is None:
            self._job = None
            return
        request, report = found
        if report.start is None:
            report = await self._begin(request, model)
        elif report.start.lineage != self._lineage:
            verdict = "the policy was started anew"
            report = replace(report, status="cancelled", finished_ms=now_ms(), verdict=verdict)
            await self._close(request, report)
            return
        self._job = (request, report)

    async def _begin(self, request: JobRequest, model: Model) -> JobReport:
        block = await self._replay.after(self._keys, model.training.progress.position, 1)
        # Without its entry: only to know what is missing before it.
        await model.learn(dataclasses.replace(block, ids=[], data=[]), frozenset())
        report = begin(request, model.training, self._lineage, block.appended, now_ms())
        await self._learning.report(self._keys, request.job_id, report)
        log.info("job_started", policy=self._keys.policy, job=request.job_id)
        return report

    def entries_wanted(self, model: Model) -> int | None:
        """How many entries must be read for the job; None without a job that learns."""
        if self._job is None or self._job[0].dry_run:
            return None
        return max(entries_wanted(self._job[1], model.training), _behind(model))

    async def advance(self, model: Model, quarantined: frozenset[int]) -> bool:
        """Does a piece of what the job needs once enough is read; whether there was something to do."""
        if self._job is None:
            return False
        request, report = self._job
        if request.dry_run:
            await self._close(request, await self._inspect(request, report, model, quarantined))
            return True
        is_out_of_time = is_late(request, report, now_ms())
        is_waiting = entries_wanted(report, model.training) > 0 and not is_out_of_time
        if is_waiting or _behind(model) > 0:
            return False
        if self._steps_left(request, model) and not is_out_of_time:
            await self._train(model)
        else:
            await self._end(request, report, model)
        return True

    def _steps_left(self, request: JobRequest, model: Model) -> int:
        if model.training.progress.finished_job == request.job_id:
            return 0
        if self._steps is None:
            self._steps = request.until.max_steps or 0
        return self._steps

    async def _train(self, model: Model) -> None:
        """Makes the next few of the extra updates."""
        assert self._steps is not None, "the job asked for updates"
        count = min(self._steps, _SLICE)
        await model.extra_updates(count)
        self._steps -= count

    async def _end(self, request: JobRequest, report: JobReport, model: Model) -> None:
        # First the checkpoint: whoever takes over from here on makes no update twice.
        model.training.progress.finished_job = request.job_id
        await model.save()
        self._steps = None
        await self._close(request, await self._publish(request, report, model))

    async def _publish(self, request: JobRequest, report: JobReport, model: Model) -> JobReport:
        training, start = model.training, report.start
        assert start is not None, "a running job has a start"
        if not transitions_since(start, training) and training.updates == start.updates:
            return finished(report, training, now_ms(), verdict="nothing_to_learn")
        is_complete = not is_late(request, report, now_ms())
        made = await model.publish(promote=request.promote == "live")
        if made is None:
            failed = finished(report, training, now_ms(), verdict="the weights are not finite")
            return replace(failed, status="failed")
        description, outcome = made
        if request.promote in ("gate", "canary"):
            outcome = await self._set_out(request, description.version, model.config)
        verdict = outcome if is_complete else f"{outcome}, out of time"
        return finished(
            report,
            training,
            now_ms(),
            verdict=verdict,
            metrics=description.metrics,
            candidate=description.version,
        )

    async def _set_out(self, request: JobRequest, version: int, config: PolicyConfig) -> str:
        """Starts the rollout that the job asked for; returns what became of the candidate."""
        at: Literal["gate", "canary"] = "canary" if request.promote == "canary" else "gate"
        why = f"learn job {request.job_id}"
        try:
            await start(
                self._policies, self._keys, config, version,
                at=at, who="learner", why=why, at_ms=now_ms(),
            )  # fmt: skip
        except ServiceError as error:
            return f"candidate, no rollout: {error.detail}"
        return f"candidate, rollout begun at the {at}"

    async def _inspect(
        self, request: JobRequest, report: JobReport, model: Model, quarantined: frozenset[int]
    ) -> JobReport:
        """What the job would learn from, without learning it."""
        start = report.start
        assert start is not None, "a running job has a start"
        position, left = start.position, start.goal - start.offset
        good, skipped = 0, Counter[str]()
        while left > 0 and not is_late(request, report, now_ms()):
            block = await self._replay.after(self._keys, position, min(left, _BLOCK))
            if not block.ids:
                break
            one = await asyncio.to_thread(examine, block.data, model.config, quarantined)
            skipped.update(one.refused.values())
            good += len(one.good)
            position, left = block.ids[-1], left - len(block.ids)
        return replace(
            report,
            status="done",
            finished_ms=now_ms(),
            data=DataRange(start.position, position, good),
            skipped=dict(skipped),
            verdict="dry_run",
        )

    async def _close(self, request: JobRequest, report: JobReport) -> None:
        await self._learning.finish(self._keys, request.job_id, report)
        self._job = None
        log.info(
            "job_ended",
            policy=self._keys.policy,
            job=request.job_id,
            status=report.status,
            verdict=report.verdict,
        )


async def fail_current(keys: PolicyKeys, learning: LearningRepository, reason: str) -> None:
    """Ends the job of the policy, if it has one, because training cannot go on."""
    found = await learning.current(keys)
    if found is not None:
        request, report = found
        failed = replace(report, status="failed", finished_ms=now_ms(), verdict=reason)
        await learning.finish(keys, request.job_id, failed)


def _behind(model: Model) -> int:
    """Entries that the version published last knows and the model does not, after a restart."""
    return model.published.offset - model.training.progress.offset if model.published else 0
