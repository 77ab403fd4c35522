"""The controller: joins feedback to decisions, archives the log, keeps Redis small.

    one holds the lease; the others wait for it
        join     every 20 ms, at once while there is a backlog
        archive  every second, when enough waits
        follow   every 200 ms: what monitors, compares and rolls out reads the log
        approve  every 250 ms: what nobody answered in time ends
        evaluate every second: starts the next evaluation, in a process of its own
        sweep    every second: policies, early rewards, idle episodes, the replay stream, memory

They run side by side, so that none waits for another; each lives through Redis going away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from service import metrics
from service.approvals.runner import ApprovalRunner
from service.archive.archiver import Archiver
from service.archive.logic import START, StreamId
from service.archive.repository import ArchiveRepository
from service.clock import now_ms
from service.evaluation.repository import EvaluationRepository
from service.evaluation.runner import EvaluationRunner
from service.following.follower import Follower
from service.following.repository import FollowingRepository
from service.joining.frames import Frames
from service.joining.joiner import Joiner, Watched
from service.joining.repository import JoinRepository
from service.learning.repository import LearningRepository
from service.policies.config import EpisodeRule
from service.policies.repository import PolicyRepository
from service.settings import Settings
from service.webhooks import Webhooks, delivering
from service.workers.heartbeat import beat
from service.workers.lease import Lease
from service.workers.observers import openers
from service.workers.pause import pause
from service.workers.repository import LeaseRepository, ServerRepository
from service.workers.watch import Watch

log = structlog.get_logger(__name__)

_BATCH: Final = 500
_TICK_S: Final = 0.02
_FOLLOW_S: Final = 0.2
"""A trip must have turned every server two seconds after its cause was joined."""
_SWEEP_S: Final = 1.0
_RETRY_S: Final = 0.2
_SWEPT: Final = 2000
_ALARM: Final = 0.8
"""Share of Redis' memory limit beyond which it is reported, while there is still time to act."""


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Works, or stands by, until `stop` is set."""
    client = Redis.from_url(
        settings.redis_url,
        socket_timeout=5.0,
        socket_connect_timeout=2.0,
        retry=Retry(NoBackoff(), 1),
    )
    async with client, asyncio.TaskGroup() as tasks:
        tasks.create_task(beat(settings.heartbeat, stop))
        lease = Lease(LeaseRepository(client), "worker", duration_s=settings.lease_s)
        while await lease.wait(stop):
            async with lease.kept():
                await Worker(client, settings, lease, stop).work()
            metrics.forget_judgements()


class Worker:
    """Everything that one holder of the lease does."""

    def __init__(
        self, client: Redis, settings: Settings, lease: Lease, stop: asyncio.Event
    ) -> None:
        policies = PolicyRepository(client)
        self._lease = lease
        self._stop = stop
        self._watch = Watch(policies)
        self._poll_s = settings.poll_s
        self._joins = JoinRepository(client)
        self._joiner = Joiner(self._joins, Frames(policies))
        self._logs = ArchiveRepository(client)
        self._archiver = Archiver(
            self._logs,
            settings.archive,
            part_events=settings.archive_part_events,
            every_s=settings.archive_every_s,
        )
        self._webhooks = Webhooks(settings.webhook_url, settings.webhook_secret)
        announce = self._webhooks.announce
        self._follower = Follower(FollowingRepository(client), openers(client, settings, announce))
        self._approvals = ApprovalRunner(client, lambda: self._watch.policies, announce)
        self._evaluations = EvaluationRunner(
            EvaluationRepository(client),
            settings,
            lambda: [policy.keys for policy in self._watch.policies],
        )
        self._learning = LearningRepository(client)
        self._server = ServerRepository(client)
        self._is_alarmed = False

    async def work(self) -> None:
        """Returns when the lease is lost or the process is to stop."""
        own = (self._join, self._archive, self._follow, self._sweep)
        async with (
            delivering(self._webhooks),
            self._evaluations as evaluations,
            asyncio.TaskGroup() as tasks,
        ):
            for step in (*own, self._approvals.step, evaluations.step):
                tasks.create_task(self._repeat(step))

    async def _repeat(self, step: Callable[[], Awaitable[float]]) -> None:
        """Calls `step` again and again; it returns how many seconds to pause."""
        is_failing = False
        while self._lease.is_held and not self._stop.is_set():
            try:
                pause_s = await step()
                is_failing = False
            except (RedisError, OSError) as error:
                if not is_failing:
                    log.warning(
                        "worker_step_failed",
                        step=step.__name__,
                        error=str(error),
                        action="retrying",
                    )
                is_failing, pause_s = True, _RETRY_S
            if pause_s:
                await pause(self._stop, pause_s)

    # -- the steps -----------------------------------------------------------------------------

    async def _join(self) -> float:
        policies, at_ms = self._watch.policies, now_ms()
        if not policies:
            return _TICK_S
        due = await self._joins.due([policy.keys for policy in policies], at_ms, _BATCH)
        for policy, ids in zip(policies, due, strict=True):
            if ids:
                await self._joiner.join(policy, ids, at_ms)
        # A batch that was not full is worth waiting for: more decisions share the next round trips.
        return 0.0 if any(len(ids) == _BATCH for ids in due) else _TICK_S

    async def _archive(self) -> float:
        policies = self._watch.policies
        lengths = await self._logs.lengths([policy.keys for policy in policies])
        for policy, length in zip(policies, lengths, strict=True):
            await self._archiver.archive(policy.keys, policy.config.log_limit, length)
        return _SWEEP_S

    async def _follow(self) -> float:
        more, problem = False, None
        for policy in self._watch.policies:
            if not self._lease.is_held:
                break
            try:
                more |= await self._follower.follow(policy, now_ms())
            except (RedisError, OSError) as error:  # a file that is gone must not stop the others
                problem = error
        if problem is not None:
            raise problem
        return 0.0 if more else _FOLLOW_S

    async def _sweep(self) -> float:
        await self._watch.refresh()
        for policy in self._watch.policies:
            await self._sweep_early(policy)
            await self._sweep_episodes(policy)
            await self._sweep_replay(policy)
        await self._watch_memory()
        return _SWEEP_S

    async def _sweep_early(self, policy: Watched) -> None:
        before_ms = now_ms() - int(policy.config.reward.early_s * 1000)
        lost = await self._joins.forget_early(policy.keys, before_ms, _SWEPT)
        if lost:
            metrics.ORPHANED.labels(policy.keys.policy).inc(lost)
            log.warning("rewards_orphaned", policy=policy.keys.policy, rewards=lost)

    async def _sweep_episodes(self, policy: Watched) -> None:
        at_ms = now_ms()
        idle_s = (policy.config.episodes or EpisodeRule()).idle_s
        since_ms = at_ms - int(idle_s * 1000)
        await self._joins.seal_idle(policy.keys, policy.config, since_ms, at_ms, _SWEPT)

    async def _sweep_replay(self, policy: Watched) -> None:
        """Keeps the newest transitions; what goes before the learner could read it is counted."""
        status = await self._learning.status(policy.keys)
        learned = StreamId.parse(status.checkpoint) if status else START
        is_more = True
        while is_more:
            missed, is_more = await self._logs.trim_replay(
                policy.keys, policy.config.replay_limit, learned
            )
            if missed:
                log.warning("replay_dropped", policy=policy.keys.policy, transitions=missed)

    async def _watch_memory(self) -> None:
        memory = await self._server.memory()
        metrics.REDIS_USED.set(memory.used_bytes)
        metrics.REDIS_LIMIT.set(memory.limit_bytes)
        is_high = 0 < _ALARM * memory.limit_bytes < memory.used_bytes
        if is_high and not self._is_alarmed:
            log.warning(
                "redis_nearly_full", used_bytes=memory.used_bytes, limit_bytes=memory.limit_bytes
            )
        self._is_alarmed = is_high
