"""Every Redis command of learning: jobs, and what the learner says of itself."""

from __future__ import annotations

from typing import Final

import msgspec
from redis.asyncio import Redis

from service.learning.schemas import JobReport, JobRequest, LearnerStatus, Published
from service.repository import PolicyKeys, Script, text

_BEGIN: Final = Script.load("service.learning", "begin.lua")
_FINISH: Final = Script.load("service.learning", "finish.lua")
_KEEP_MS: Final = 7 * 86_400_000
_encode = msgspec.json.Encoder().encode
_request = msgspec.json.Decoder(JobRequest).decode
_report = msgspec.json.Decoder(JobReport).decode
_status = msgspec.json.Decoder(LearnerStatus).decode
_published = msgspec.json.Decoder(Published).decode


class LearningRepository:
    """Reads and writes through an ordinary client."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    # -- jobs -----------------------------------------------------------------------------------

    async def create(self, keys: PolicyKeys, request: JobRequest) -> str | None:
        """None when the job is queued, else the id of the unfinished one that the policy has."""
        running = text(
            await self._client.eval(
                _BEGIN.text, 2, keys.job, _job(keys, request.job_id),
                request.job_id, _encode(request), _encode(JobReport()),
            )
        )  # fmt: skip
        return running or None

    async def current(self, keys: PolicyKeys) -> tuple[JobRequest, JobReport] | None:
        """The unfinished job of the policy."""
        job_id = await self._client.get(keys.job)
        return None if job_id is None else await self.job(keys, text(job_id))

    async def job(self, keys: PolicyKeys, job_id: str) -> tuple[JobRequest, JobReport] | None:
        """One job, while it is kept."""
        request, report = await self._client.hmget(_job(keys, job_id), ("request", "report"))
        return None if request is None or report is None else (_request(request), _report(report))

    async def report(self, keys: PolicyKeys, job_id: str, report: JobReport) -> None:
        """Replaces the report of an unfinished job."""
        await self._client.hset(_job(keys, job_id), "report", _encode(report))

    async def finish(self, keys: PolicyKeys, job_id: str, report: JobReport) -> None:
        """Stores the last report of a job, and lets the next job come."""
        await self._client.eval(
            _FINISH.text, 2, keys.job, _job(keys, job_id), job_id, _encode(report), _KEEP_MS
        )

    # -- the learner ----------------------------------------------------------------------------

    async def put_status(self, keys: PolicyKeys, status: LearnerStatus) -> None:
        await self._client.hset(keys.learner, "status", _encode(status))

    async def status(self, keys: PolicyKeys) -> LearnerStatus | None:
        """What the learner last said of itself; None if there never was one."""
        body = await self._client.hget(keys.learner, "status")
        return None if body is None else _status(body)

    async def put_published(self, keys: PolicyKeys, published: Published) -> None:
        await self._client.hset(keys.learner, "published", _encode(published))

    async def published(self, keys: PolicyKeys) -> Published | None:
        """What the version published last knows."""
        body = await self._client.hget(keys.learner, "published")
        return None if body is None else _published(body)


def _job(keys: PolicyKeys, job_id: str) -> str:
    return f"{keys.job}:{job_id}"
