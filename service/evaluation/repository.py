"""Every Redis command of evaluation jobs.

    nacre:{p}:evaluations               sorted set: ids of the newest jobs, by when they were asked for, in ms
    nacre:{p}:evaluations:waiting       list: ids of jobs without an end, oldest first; the first may be running
    nacre:{p}:evaluation:<id>           hash: request, by, created, status, started, finished, attempts, report, error

A job leaves the list only with its end, so one whose worker died is still the first of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from service.clock import now_ms, rfc3339
from service.decisions.ids import new_id
from service.errors import ServiceError
from service.evaluation.schemas import EvaluationJob, EvaluationReport, EvaluationRequest, JobStatus
from service.repository import PolicyKeys, Script, text

_ASK: Final = Script.load("service.evaluation", "ask.lua")
_KEEP_MS: Final = 30 * 86_400_000
_KEPT: Final = 200
_FIELDS: Final = (
    "request", "by", "created", "status", "started", "finished", "attempts", "error", "report",
)  # fmt: skip
_MOST_WAITING: Final = 100
_encode = msgspec.json.Encoder().encode
_request = msgspec.json.Decoder(EvaluationRequest).decode
_report = msgspec.json.Decoder(EvaluationReport).decode
_status = msgspec.json.Decoder(JobStatus).decode


class EvaluationRepository:
    """Reads and writes through an ordinary client.

    job_id = await repository.ask(keys, request, "shop")    whoever wants to know
    job = await repository.current(keys)                    the worker, which then calls `begin` and `end`
    job = await repository.find(keys, job_id)               whoever asked
    """

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def ask(self, keys: PolicyKeys, request: EvaluationRequest, who: str) -> str:
        """Queues a job and gives its id, which holds the name of the policy.

        Raises:
            ServiceError: TooManyRequests, when a hundred jobs of the policy wait.
        """
        job_id = f"{keys.policy}.{new_id()}"
        old: Any = await self._client.eval(
            _ASK.text, 3, _waiting(keys), _job(keys, job_id), _jobs(keys),
            job_id, _encode(request), who, now_ms(), _MOST_WAITING, _KEPT,
        )  # fmt: skip
        if old is None:
            raise ServiceError(
                "TooManyRequests",
                f"{_MOST_WAITING} evaluations of the policy wait; ask again later",
            )
        if old:
            # At most a hundred wait, so these have ended.
            await self._client.unlink(*(_job(keys, text(one)) for one in old))
        return job_id

    async def find(self, keys: PolicyKeys, job_id: str) -> EvaluationJob | None:
        """One job, while it is kept."""
        return _job_of(keys, job_id, await self._client.hmget(_job(keys, job_id), _FIELDS))

    async def list(self, keys: PolicyKeys) -> list[EvaluationJob]:
        """The jobs that are kept, newest first, at most 200, without their reports."""
        ids = [text(job_id) for job_id in await self._client.zrevrange(_jobs(keys), 0, -1)]
        async with self._client.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.hmget(_job(keys, job_id), _FIELDS[:-1])
            replies = await pipe.execute()
        found = [_job_of(keys, *pair) for pair in zip(ids, replies, strict=True)]
        return [job for job in found if job is not None]

    async def current(self, keys: PolicyKeys) -> EvaluationJob | None:
        """The oldest job without an end, whether or not it was begun."""
        job_id = await self._client.lindex(_waiting(keys), 0)
        return None if job_id is None else await self.find(keys, text(job_id))

    async def begin(self, keys: PolicyKeys, job_id: str) -> None:
        """A worker takes the job up."""
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.hset(_job(keys, job_id), mapping={"status": "running", "started": now_ms()})
            pipe.hincrby(_job(keys, job_id), "attempts", 1)
            await pipe.execute()

    async def report(self, keys: PolicyKeys, job_id: str, report: EvaluationReport) -> None:
        """The job is done."""
        await self._end(keys, job_id, {"status": b"done", "report": _encode(report)})

    async def fail(self, keys: PolicyKeys, job_id: str, error: str) -> None:
        """The job cannot be done; `error` says why, and what to do."""
        await self._end(keys, job_id, {"status": b"failed", "error": error.encode()})

    async def _end(self, keys: PolicyKeys, job_id: str, outcome: dict[Any, Any]) -> None:
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.hset(_job(keys, job_id), mapping={**outcome, "finished": now_ms()})
            pipe.lrem(_waiting(keys), 0, job_id)
            pipe.pexpire(_job(keys, job_id), _KEEP_MS)
            await pipe.execute()


def _job_of(keys: PolicyKeys, job_id: str, values: Sequence[Any]) -> EvaluationJob | None:
    """`values`: those of `_FIELDS`, or of all but the last."""
    found: dict[str, Any] = dict(zip(_FIELDS, values, strict=False))
    if found["request"] is None:
        return None
    report = found.get("report")
    return EvaluationJob(
        job_id=job_id,
        policy=keys.policy,
        status=_status(b'"%b"' % found["status"]),
        request=_request(found["request"]),
        asked_by=text(found["by"]),
        created_at=rfc3339(int(found["created"])),
        started_at=_time(found["started"]),
        finished_at=_time(found["finished"]),
        attempts=int(found["attempts"] or 0),
        report=None if report is None else _report(report),
        error=text(found["error"] or b""),
    )


def _jobs(keys: PolicyKeys) -> str:
    return f"nacre:{{{keys.policy}}}:evaluations"


def _waiting(keys: PolicyKeys) -> str:
    return f"{_jobs(keys)}:waiting"


def _job(keys: PolicyKeys, job_id: str) -> str:
    return f"nacre:{{{keys.policy}}}:evaluation:{job_id}"


def _time(at_ms: bytes | None) -> str | None:
    return None if at_ms is None else rfc3339(int(at_ms))
