"""Carries out evaluation jobs, one at a time, for the worker that holds the lease.

    queued -> running: a process of its own (`nacre evaluate`) -> done, or failed

A step only starts a process or looks after it, so the worker's loop is never held up. A worker that dies leaves
the job running; its process dies with it, and the next worker begins anew.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
import structlog
from msgspec.structs import replace

from service import metrics
from service.evaluation.logic import arguments, failure
from service.evaluation.repository import EvaluationRepository
from service.evaluation.schemas import EvaluationJob, EvaluationReport
from service.repository import PolicyKeys
from service.settings import Settings

log = structlog.get_logger(__name__)

_IDLE_S: Final = 1.0
_LOOK_S: Final = 0.1
_ATTEMPTS: Final = 3
"""A job that three workers died of is not the workers' fault."""
_NICE: Final = 10
"""Deciding and joining come first."""
_TOLD: Final = 10_000
_report = msgspec.json.Decoder(EvaluationReport).decode


@dataclass(slots=True)
class _Running:
    """One process. `folder`: its own, with the report and what it told."""

    keys: PolicyKeys
    job: EvaluationJob
    process: asyncio.subprocess.Process
    folder: Path
    until_s: float

    @property
    def report(self) -> Path:
        return self.folder / "report.json"

    @property
    def told(self) -> Path:
        return self.folder / "told.txt"


class EvaluationRunner:
    """A context: at its end a process that still runs is ended, and its job stays for the next worker.

    `policies`: whose jobs are looked at, in turn. `limit_s`: of one evaluation.

        async with EvaluationRunner(repository, settings, lambda: keys_of_all_policies) as runner:
            while ...: await pause(await runner.step())
    """

    def __init__(
        self,
        repository: EvaluationRepository,
        settings: Settings,
        policies: Callable[[], Sequence[PolicyKeys]],
        *,
        limit_s: float = 3600.0,
    ) -> None:
        self._repository = repository
        self._settings = settings
        self._policies = policies
        self._limit_s = limit_s
        self._running: _Running | None = None
        self._turn = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._running is not None:
            await self._stop(self._running)
            self._running = None

    async def step(self) -> float:
        """Starts the next job, or looks after the one that runs; how many seconds to pause.

        Raises:
            RedisError: Redis does not answer; the process goes on, and is asked for at the next step.
        """
        if self._running is not None:
            return await self._look(self._running)
        policies = self._policies()
        for i in range(len(policies)):
            keys = policies[(self._turn + i) % len(policies)]
            job = await self._repository.current(keys)
            if job is not None:
                self._turn += i + 1
                return await self._take_up(keys, job)
        return _IDLE_S

    async def _take_up(self, keys: PolicyKeys, job: EvaluationJob) -> float:
        if job.attempts >= _ATTEMPTS:
            why = (
                f"it was begun {job.attempts} times and never ended; narrow it with since and until"
            )
            await self._repository.fail(keys, job.job_id, why)
            return 0.0
        await self._repository.begin(keys, job.job_id)
        try:
            self._running = await self._start(keys, job)
        except ValueError as error:
            # Such as a zero byte, which no command line can have.
            await self._repository.fail(keys, job.job_id, f"it cannot be started: {error}")
            return 0.0
        log.info("evaluation_started", policy=keys.policy, job=job.job_id)
        return _LOOK_S

    async def _start(self, keys: PolicyKeys, job: EvaluationJob) -> _Running:
        folder = Path(tempfile.mkdtemp(prefix="nacre-evaluation-"))
        request = replace(job.request, policy=keys.policy)
        try:
            process = await self._spawn(arguments(request, folder / "report.json"), folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with suppress(ProcessLookupError):  # it may have ended already
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
        return _Running(keys, job, process, folder, time.monotonic() + self._limit_s)

    async def _spawn(self, words: list[str], folder: Path) -> asyncio.subprocess.Process:
        with (folder / "told.txt").open("wb") as told:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", "service.cli", *words,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=told,
                cwd=folder, env=self._environment(),
            )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        """It stands in a folder of its own, so that no file is mistaken for a policy; and it is to die with us."""
        here = self._settings
        return os.environ | {
            "REDIS_URL": here.redis_url,
            "NACRE_ARCHIVE": str(here.archive.absolute()),
            "NACRE_ARTEFACTS": str(here.artefacts.absolute()),
            "NACRE_PARENT": str(os.getpid()),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }

    async def _look(self, running: _Running) -> float:
        code = running.process.returncode
        if code is None and time.monotonic() < running.until_s:
            return _LOOK_S
        if code is None:
            await _killed(running.process)
            why = f"it took longer than {self._limit_s:g} s; narrow it with since and until"
            await self._repository.fail(running.keys, running.job.job_id, why)
        else:
            await self._close(running, code)
        self._running = None
        shutil.rmtree(running.folder, ignore_errors=True)
        return 0.0

    async def _close(self, running: _Running, code: int) -> None:
        keys, job_id = running.keys, running.job.job_id
        report = _read(running.report) if code in (0, 1) else None
        if report is not None:
            await self._repository.report(keys, job_id, report)
            _show(keys.policy, report)
            log.info("evaluation_ended", policy=keys.policy, job=job_id, verdict=report.verdict)
            return
        why = failure(code, running.told.read_text("utf-8", "replace")[-_TOLD:])
        await self._repository.fail(keys, job_id, why)
        log.warning("evaluation_failed", policy=keys.policy, job=job_id, error=why)

    async def _stop(self, running: _Running) -> None:
        await _killed(running.process)
        shutil.rmtree(running.folder, ignore_errors=True)


def _read(path: Path) -> EvaluationReport | None:
    """None where there is none, or it cannot be read."""
    try:
        return _report(path.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None


async def _killed(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


def _show(policy: str, report: EvaluationReport) -> None:
    for one in report.estimates:
        if one.value is not None:
            metrics.EVALUATION_VALUE.labels(policy, one.estimator).set(one.value)
    if report.lower is not None:
        metrics.EVALUATION_LOWER.labels(policy).set(report.lower)
    metrics.EVALUATION_ROWS.labels(policy).set(report.effective_rows)
