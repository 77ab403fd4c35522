"""One policy in the hands of the learner that holds its lease.

    session = await Session.open(...)
    while not session.is_over:
        await session.step()        look, read and learn, serve the job, publish, keep, wait
    await session.close()

The process may die between any two steps: what was read after the checkpoint is read again. A step
that Redis fails is repeated.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec.structs import replace
from redis.asyncio import Redis

from agent_core.training.schedule import ScheduleConfig
from service.clock import now_ms
from service.learning.jobs import JobRunner
from service.learning.model import Model, Place
from service.learning.publisher import Publisher, RestartedError
from service.learning.repository import LearningRepository
from service.learning.schemas import LearnerStatus
from service.policies.artefacts import ArtefactStore
from service.policies.repository import PolicyMeta, PolicyRepository
from service.policies.store import read_config
from service.replay.repository import ReplayRepository
from service.repository import PolicyKeys

_LOOK_S: Final = 0.25
"""How often the policy's head and jobs are looked at; also the longest wait, so that a stop is noticed."""
_UPDATES: Final = 64
"""Gradient updates in one turn, about: a tenth of a second of a small DQN."""
_BLOCK: Final = 1024
"""Entries read at most in one turn: a tenth of a second of a bandit, ten milliseconds where nothing is due."""


class Session:
    """Made by `open`; `is_over` once the policy is gone or was started anew."""

    def __init__(
        self,
        client: Redis,
        meta: PolicyMeta,
        model: Model,
        jobs: JobRunner,
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        self._keys = PolicyKeys(model.config.policy)
        self._policies = PolicyRepository(client)
        self._learning = LearningRepository(client)
        self._replay = ReplayRepository(client)
        self._meta = meta
        self._model = model
        self._jobs = jobs
        self._pause = pause
        self._quarantined: frozenset[int] = frozenset()
        self._look_at = -math.inf
        self._said: LearnerStatus | None = None
        self.is_over = False

    @classmethod
    async def open(
        cls,
        client: Redis,
        artefacts: ArtefactStore,
        place: Place,
        meta: PolicyMeta,
        pause: Callable[[float], Awaitable[None]],
    ) -> Session:
        """Continues where the policy's training stood.

        Raises:
            SnapshotError: there are checkpoints and none can be used.
            ConfigError: the configuration cannot be read, or several processes cannot train it.
        """
        config = read_config(meta.config)
        keys, learning = PolicyKeys(config.policy), LearningRepository(client)
        publisher = Publisher(PolicyRepository(client), learning, artefacts, keys, meta.lineage)
        model = await Model.open(place, config, meta.lineage, publisher)
        policies = PolicyRepository(client)
        jobs = JobRunner(keys, learning, ReplayRepository(client), policies, meta.lineage)
        return cls(client, meta, model, jobs, pause)

    async def step(self) -> None:
        """One turn: at most one block, and whatever is due.

        Raises:
            RedisError, OSError: Redis or the disk failed; a later step does it again.
        """
        if time.monotonic() >= self._look_at:
            await self._look()
        if self.is_over:
            return
        has_read = await self._read()
        try:
            has_worked = await self._jobs.advance(self._model, self._quarantined)
            if not self._jobs.is_between_updates:
                await self._publish_and_save()
        except RestartedError:
            self.is_over = True
            return
        if not (has_read or has_worked):
            await self._wait()

    async def close(self) -> None:
        """Keeps what was learned since the last checkpoint."""
        if self._model.saves_in_s < math.inf and not self._jobs.is_between_updates:
            await self._model.save()

    async def _publish_and_save(self) -> None:
        """What is due of both."""
        if self._model.publishes_in_s <= 0:
            await self._model.publish(promote=self._model.config.learning.auto_promote)
        if self._model.saves_in_s <= 0:
            await self._model.save()

    async def _look(self) -> None:
        meta = await self._policies.meta(self._keys)
        if meta is None or meta.lineage != self._meta.lineage:
            self.is_over = True
            return
        if not self._jobs.is_between_updates:
            if meta.config != self._meta.config:
                await self._model.reconfigure(read_config(meta.config))
            self._meta = meta
            self._quarantined = await self._policies.quarantined(self._keys)
            await self._jobs.look(self._model)
        await self._say()
        self._look_at = time.monotonic() + _LOOK_S

    async def _say(self) -> None:
        here, model = self._model.training.progress, self._model
        status = LearnerStatus(
            lineage=self._meta.lineage,
            position=here.position,
            checkpoint=model.checkpoint,
            experience=model.training.experience,
            updates=model.training.updates,
            missed=here.missed,
            skipped=dict(here.skipped),
            refused=model.refusal,
        )
        if status != self._said:
            await self._learning.put_status(self._keys, replace(status, at_ms=now_ms()))
            self._said = status

    async def _read(self) -> bool:
        limit = self._limit()
        if limit == 0:
            return False
        position = self._model.training.progress.position
        block = await self._replay.after(self._keys, position, limit)
        if block.ids:
            await self._model.learn(block, self._quarantined)
        return bool(block.ids)

    def _limit(self) -> int:
        """How many entries may be read now."""
        turn = entries_of_a_turn(self._model.config.agent.schedule)
        wanted = self._jobs.entries_wanted(self._model)
        if wanted is not None:
            return max(0, min(turn, wanted))
        return turn if self._model.config.learning.continuous else 0

    async def _wait(self) -> None:
        """Until something comes, or is due."""
        due_in_s = (
            self._look_at - time.monotonic(),
            self._model.publishes_in_s,
            self._model.saves_in_s,
        )
        wait_s = max(0.0, min(due_in_s))
        if self._limit() == 0:
            await self._pause(wait_s)
        else:
            await self._replay.wait(self._keys, self._model.training.progress.position, wait_s)


def entries_of_a_turn(schedule: ScheduleConfig) -> int:
    """The fewer, the more updates each of them brings."""
    return max(1, int(_UPDATES / max(schedule.updates_per_transition, _UPDATES / _BLOCK)))
