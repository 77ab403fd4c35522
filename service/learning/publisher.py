"""Makes versions: weights to the artefact store, then one entry and perhaps one pointer in Redis.

A crash between the two leaves files that nobody points to; the next version sweeps them away.
"""

from __future__ import annotations

import asyncio

import msgspec
import structlog
from msgspec.structs import replace

from service import metrics
from service.clock import now_ms, rfc3339
from service.learning.logic import oldest_kept
from service.learning.repository import LearningRepository
from service.learning.schemas import Published
from service.learning.training import PolicyTraining
from service.policies.artefacts import ArtefactStore
from service.policies.repository import PolicyRepository, VersionDescription
from service.repository import PolicyKeys

log = structlog.get_logger(__name__)


class RestartedError(Exception):
    """The policy was started anew while a version of the old model was being made."""


class Publisher:
    """Publishes versions of one model of one policy, and forgets old ones."""

    def __init__(
        self,
        policies: PolicyRepository,
        learning: LearningRepository,
        artefacts: ArtefactStore,
        keys: PolicyKeys,
        lineage: int,
    ) -> None:
        self._policies = policies
        self._learning = learning
        self._artefacts = artefacts
        self._keys = keys
        self._lineage = lineage

    async def last(self) -> Published | None:
        """What this model published last, in this process or another."""
        published = await self._learning.published(self._keys)
        is_ours = published is not None and published.lineage == self._lineage
        return published if is_ours else None

    async def publish(
        self, training: PolicyTraining, *, promote: bool, keep: int
    ) -> tuple[Published, VersionDescription, str]:
        """Publishes what is known now; the third is `live`, `candidate` or `pinned`.

        `keep`: how many of the newest versions stay.

        Raises:
            RestartedError: the policy has another model by now; nothing was published.
            OSError: the artefacts cannot be written.
            RedisError: it is unknown whether the version was published.
        """
        description = replace(await self._store(training), lineage=self._lineage)
        if await self._live() is None:
            self._artefacts.forget(self._keys.policy, description.version)
            raise RestartedError
        outcome, _ = await self._policies.publish(self._keys, description, promote=promote)
        published = Published(
            self._lineage, description.version, training.progress.offset, training.updates
        )
        await self._learning.put_published(self._keys, published)
        metrics.PUBLISHED.labels(self._keys.policy).inc()
        log.info(
            "version_published",
            policy=self._keys.policy,
            version=description.version,
            outcome=outcome,
            experience=training.experience,
        )
        try:
            await self._forget_old(keep)
        except msgspec.MsgspecError as error:
            # Another release wrote the head: until it is known what it points to, nothing is forgotten.
            log.warning("old_versions_kept", policy=self._keys.policy, error=str(error))
        return published, description, outcome

    async def _store(self, training: PolicyTraining) -> VersionDescription:
        before = await self.last()
        live = await self._live()
        parent = before.version if before else live or 0
        made_at = rfc3339(now_ms())
        while True:
            version = await self._policies.next_version(self._keys)
            snapshot = await asyncio.to_thread(training.snapshot, version, parent, made_at)
            try:
                await asyncio.to_thread(self._artefacts.save, self._keys.policy, version, snapshot)
            except FileExistsError:
                continue  # Redis was emptied and counts from 1 again: a version never changes
            return training.description(version, parent, made_at)

    async def _live(self) -> int | None:
        """The live version, or None when the policy has another model by now."""
        meta = await self._policies.meta(self._keys)
        return meta.live if meta is not None and meta.lineage == self._lineage else None

    async def _forget_old(self, keep: int) -> None:
        meta = await self._policies.meta(self._keys)
        if meta is None:
            return
        known = [one.version for one in await self._policies.versions(self._keys)]
        oldest, pointed = oldest_kept(known, keep), meta.pointed()
        old = [version for version in known if version < oldest and version not in pointed]
        await self._policies.forget(self._keys, old)
        # From here on nobody can point to them any more; somebody may have done so just before.
        meta = await self._policies.meta(self._keys)
        if meta is not None:
            pointed |= meta.pointed()
            await asyncio.to_thread(self._artefacts.sweep, self._keys.policy, oldest, pointed)
