"""A policy and its replay stream in a real Redis, written as the joiner writes it, and learners for it.

async with open_studio(client, folder, bandit()) as studio:
    await studio.append(studio.made_up(100))
    async with studio.learner():
        await eventually(...)
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import torch
from redis.asyncio import Redis

from agent_core.snapshot import TrainingCheckpoint
from agent_core.types import Transition
from service.clock import now_ms
from service.learning.repository import LearningRepository
from service.learning.schemas import JobReport, JobRequest, LearnerStatus, Promotion, Until
from service.learning.training import PolicyTraining, checkpoint_folder
from service.policies.artefacts import ArtefactStore
from service.policies.config import parse_policy
from service.policies.logic import register
from service.policies.repository import PolicyMeta, PolicyRepository, VersionDescription
from service.replay.codec import encode_transition
from service.replay.repository import ReplayRepository
from service.repository import PolicyKeys
from service.workers.learner import train_all
from tests.support.api import settings_for
from tests.support.learners import fingerprint, made_up
from tests.support.processes import Child, Children
from tests.support.waiting import eventually

CPU = torch.device("cpu")


class Studio:
    """One registered policy."""

    def __init__(
        self, client: Redis, redis_url: str, folder: Path, document: Mapping[str, Any]
    ) -> None:
        self.client = client
        self.config = parse_policy(document)
        self.keys = PolicyKeys(self.config.policy)
        # A short lease: a killed learner's role is free soon.
        self.settings = settings_for(redis_url, folder, lease_s=0.5)
        self.policies = PolicyRepository(client)
        self.learning = LearningRepository(client)
        self.replay = ReplayRepository(client)
        self.artefacts = ArtefactStore(self.settings.artefacts)

    async def register(self, document: Mapping[str, Any] | None = None) -> None:
        """Registers the policy, or another configuration of it, restarting where that is needed."""
        self.config = self.config if document is None else parse_policy(document)
        await register(self.policies, self.artefacts, self.config, who="test", restart=True)

    def made_up(self, count: int, seed: int = 0) -> list[Transition]:
        return made_up(count, seed, self.config.agent.spec)

    async def append(
        self, transitions: Sequence[Transition], schema: str | None = None
    ) -> list[str]:
        """What `finish.lua` does with transitions; returns their stream ids."""
        schema = schema or self.config.transition_schema
        bodies = [encode_transition(one, schema) for one in transitions]
        return await self.append_raw(bodies)

    async def append_raw(self, bodies: Sequence[bytes]) -> list[str]:
        async with self.client.pipeline(transaction=True) as pipe:
            for body in bodies:
                pipe.xadd(self.keys.replay, {"b": body})
            pipe.hincrby(self.keys.counts, "rewarded", len(bodies))
            replies = await pipe.execute()
        return [reply.decode() for reply in replies[:-1]]

    # -- what is seen ---------------------------------------------------------------------------

    async def meta(self) -> PolicyMeta:
        meta = await self.policies.meta(self.keys)
        assert meta is not None
        return meta

    async def versions(self) -> list[VersionDescription]:
        return await self.policies.versions(self.keys)

    async def status(self) -> LearnerStatus:
        return await self.learning.status(self.keys) or LearnerStatus()

    async def learned(self, count: int, timeout_s: float = 20.0) -> None:
        """Returns once a version knows at least `count` transitions."""

        async def holds() -> bool:
            return (await self.versions())[-1].experience >= count

        await eventually(holds, timeout_s)

    async def folder(self) -> Path:
        """Where the learner keeps its checkpoints."""
        return checkpoint_folder(
            self.settings.checkpoints, self.config, (await self.meta()).lineage
        )

    async def checkpointed(self) -> str:
        """Names every bit of the newest checkpoint."""
        checkpoint = TrainingCheckpoint.load_latest(await self.folder())
        assert checkpoint is not None
        return fingerprint(checkpoint.state)

    async def undisturbed(self, folder: Path) -> str:
        """Names every bit of what comes of the whole stream in one go, without any process."""
        training = PolicyTraining(self.config, CPU)
        training.take(await self.replay.after(self.keys, "0-0", 1_000_000), frozenset())
        training.save(folder, 0, "now")
        checkpoint = TrainingCheckpoint.load_latest(folder)
        assert checkpoint is not None
        return fingerprint(checkpoint.state)

    # -- learners and jobs ----------------------------------------------------------------------

    @asynccontextmanager
    async def learner(self) -> AsyncIterator[None]:
        """The learner as a task of this process; asked to stop at the end."""
        stop = asyncio.Event()
        task = asyncio.create_task(train_all(self.settings, stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def ask(
        self, job_id: str = "j", *, promote: Promotion = "none", dry_run: bool = False, **until: Any
    ) -> None:
        """Queues a learn job."""
        end = await self.replay.end(self.keys)
        request = JobRequest(
            job_id, self.config.policy, Until(**until), promote, dry_run, now_ms(), *end
        )
        assert await self.learning.create(self.keys, request) is None

    async def report(self, job_id: str = "j") -> JobReport:
        found = await self.learning.job(self.keys, job_id)
        assert found is not None
        return found[1]

    async def ended(self, job_id: str = "j", timeout_s: float = 20.0) -> JobReport:
        """The report of a job, once it has ended."""

        async def holds() -> bool:
            return (await self.report(job_id)).finished_ms is not None

        await eventually(holds, timeout_s)
        return await self.report(job_id)


@asynccontextmanager
async def open_studio(
    redis_url: str, folder: Path, document: Mapping[str, Any]
) -> AsyncIterator[Studio]:
    """A registered policy whose files lie in `folder`."""
    async with Redis.from_url(redis_url) as client:
        studio = Studio(client, redis_url, folder, document)
        await studio.register()
        yield studio


def start_learner(children: Children, studio: Studio) -> Child:
    """The learner as a process, which a test may kill."""
    return children.nacre("learner", environment=_told(studio))


def start_ranks(children: Children, studio: Studio, *options: str) -> Child:
    """The learner as several processes of torchrun, which is the child and takes `options`."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", *options]
    program = ["-m", "service.cli", "learner"]
    return children.spawn([*torchrun, *program], name="torchrun", environment=_told(studio))


def _told(studio: Studio) -> dict[str, str]:
    settings = studio.settings
    return {
        "REDIS_URL": settings.redis_url,
        "NACRE_ARTEFACTS": str(settings.artefacts),
        "NACRE_CHECKPOINTS": str(settings.checkpoints),
        "NACRE_LEASE_S": str(settings.lease_s),
        "NACRE_DEVICE": "cpu",
    }
