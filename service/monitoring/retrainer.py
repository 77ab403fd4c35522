"""Asks for candidates: learn jobs that make a version and let nobody decide with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog
from redis.asyncio import Redis

from service.clock import parse_ms
from service.decisions.ids import new_id
from service.evaluation.repository import EvaluationRepository
from service.joining.joiner import Watched
from service.learning.repository import LearningRepository
from service.learning.schemas import JobRequest, Until
from service.monitoring.judge import Alarm
from service.monitoring.retraining import Need, why_retrain
from service.policies.repository import PolicyMeta, PolicyRepository
from service.replay.repository import ReplayRepository
from service.repository import PolicyKeys
from service.webhooks import Announce

log = structlog.get_logger(__name__)
_EVERY_MS: Final = 5_000


class Retrainer:
    """Looks at each policy that declares it, every few seconds."""

    def __init__(self, client: Redis, announce: Announce) -> None:
        self._policies = PolicyRepository(client)
        self._learning = LearningRepository(client)
        self._replay = ReplayRepository(client)
        self._evaluations = EvaluationRepository(client)
        self._announce = announce
        self._looked_ms: dict[str, int] = {}

    async def look(
        self,
        policy: Watched,
        meta: PolicyMeta,
        streak: int,
        alarms: Mapping[str, Alarm],
        asked_ms: int,
        now_ms: int,
    ) -> int:
        """When a candidate was asked for last: now, or `asked_ms`. See `Need`."""
        rule, name = policy.config.monitoring.retrain, policy.keys.policy
        if rule is None or now_ms < self._looked_ms.get(name, 0) + _EVERY_MS:
            return asked_ms
        self._looked_ms[name] = now_ms
        newest, appended = await self._replay.end(policy.keys)
        published = await self._learning.published(policy.keys)
        need = Need(
            streak=streak,
            alarms=alarms,
            asked_ms=asked_ms,
            live_age_s=await self._live_age_s(policy.keys, meta, now_ms),
            fresh=appended - (published.offset if published else 0),
            effective_share=await self._effective_share(policy.keys, meta)
            if rule.effective_share is not None
            else None,
        )
        why = why_retrain(rule, need, now_ms)
        job_id = f"{name}.{new_id()}"
        request = JobRequest(job_id, name, Until(), "none", False, now_ms, newest, appended)
        # Where a job is under way, the next look asks again.
        if not why or await self._learning.create(policy.keys, request) is not None:
            return asked_ms
        log.info("retraining_asked", policy=name, job=job_id, why=why)
        self._announce("retraining.asked", name, {"job_id": job_id, "why": why})
        return now_ms

    async def _live_age_s(self, keys: PolicyKeys, meta: PolicyMeta, now_ms: int) -> float:
        live = await self._policies.version(keys, meta.live) if meta.live else None
        return (now_ms - parse_ms(live.made_at)) / 1000 if live else 0.0

    async def _effective_share(self, keys: PolicyKeys, meta: PolicyMeta) -> float | None:
        """What the newest evaluation of the live version found the log to be worth, by decision."""
        names = (str(meta.live), f"{keys.policy}@{meta.live}")
        for job in await self._evaluations.list(keys):
            if job.status == "done" and job.request.target in names:
                found = await self._evaluations.find(keys, job.job_id)
                if found is not None and found.report is not None and found.report.rows:
                    return found.report.effective_rows / found.report.rows
        return None
