"""A model in training, with its place on disk and in the registry.

Arithmetic runs on the one thread of `arithmetic`, which all models of the process share: they take
turns in the order in which they ask, and the event loop stays free to renew leases.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import structlog
import torch

from service import metrics
from service.clock import now_ms, rfc3339
from service.learning.lead import Lead
from service.learning.logic import is_news
from service.learning.publisher import Publisher
from service.learning.schemas import Published
from service.learning.training import PolicyTraining, checkpoint_folder
from service.policies.config import PolicyConfig
from service.policies.repository import VersionDescription
from service.replay.repository import Block

log = structlog.get_logger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where models compute and where their checkpoints lie. `lead`: of the other processes that compute the same,
    if there are any."""

    arithmetic: Executor
    device: torch.device
    checkpoints: Path
    lead: Lead | None = None


class Model:
    """Made by `open`. `published`: what it published last; `refusal`: why it cannot publish, or empty;
    `checkpoint`: the position from which a crash would continue."""

    def __init__(
        self,
        place: Place,
        config: PolicyConfig,
        folder: Path,
        training: PolicyTraining,
        publisher: Publisher,
        published: Published | None,
    ) -> None:
        self._place = place
        self._folder = folder
        self._publisher = publisher
        self._published_at = self._saved_at = -math.inf
        self._saved = (training.progress.offset, training.updates)
        self.config = config
        self.training = training
        self.published = published
        self.checkpoint = training.progress.position
        self.refusal = ""

    @classmethod
    async def open(
        cls, place: Place, config: PolicyConfig, lineage: int, publisher: Publisher
    ) -> Model:
        """Continues from the newest checkpoint, or begins.

        Raises:
            SnapshotError: there are checkpoints and none can be used.
            ConfigError: several processes cannot train it.
        """
        folder = checkpoint_folder(place.checkpoints, config, lineage)
        training = await asyncio.to_thread(
            PolicyTraining.resume, config, place.device, folder, place.lead
        )
        model = cls(place, config, folder, training, publisher, await publisher.last())
        log.info(
            "training_opened",
            policy=config.policy,
            position=training.progress.position,
            experience=training.experience,
            device=str(place.device),
        )
        return model

    # -- learning -----------------------------------------------------------------------------

    async def learn(self, block: Block, quarantined: frozenset[int]) -> None:
        """Takes a block in, and counts what it taught."""
        training, policy = self.training, self.config.policy
        experience, updates = training.experience, training.updates
        skipped = Counter(training.progress.skipped)
        missed = await self._compute(training.take, block, quarantined)
        metrics.LEARNED.labels(policy).inc(training.experience - experience)
        metrics.UPDATES.labels(policy).inc(training.updates - updates)
        for reason, count in (Counter(training.progress.skipped) - skipped).items():
            metrics.SKIPPED.labels(policy, reason).inc(count)
        if missed:
            metrics.SKIPPED.labels(policy, "missed").inc(missed)
            log.warning("replay_gap", policy=policy, missed=missed, action="learning what is left")

    async def extra_updates(self, count: int) -> None:
        """Makes updates besides those that are due; none while the replay is empty."""
        updates = self.training.updates
        await self._compute(self.training.extra_updates, count)
        metrics.UPDATES.labels(self.config.policy).inc(self.training.updates - updates)

    async def reconfigure(self, config: PolicyConfig) -> None:
        """Goes on under a configuration of the same structure, from a checkpoint made here."""
        self.training = await self._compute(self.training.reconfigured, config)
        self.config = config
        await self.save()

    # -- publishing ---------------------------------------------------------------------------

    @property
    def publishes_in_s(self) -> float:
        """Seconds until the next version is due by itself; infinite when there is no news."""
        rule = self.config.learning
        if not rule.continuous or not is_news(self.training, self.published):
            return math.inf
        return self._published_at + rule.publish_every_s - time.monotonic()

    async def publish(self, *, promote: bool) -> tuple[VersionDescription, str] | None:
        """A new version and what became of it; None when a weight is not finite.

        Raises:
            RestartedError, OSError, RedisError: see `Publisher.publish`; asking again is safe.
        """
        self._published_at = time.monotonic()
        if not self._is_fit():
            metrics.REFUSED_VERSIONS.labels(self.config.policy, "non_finite").inc()
            return None
        self.published, description, outcome = await self._publisher.publish(
            self.training, promote=promote, keep=self.config.learning.keep_versions
        )
        return description, outcome

    def _is_fit(self) -> bool:
        is_finite = self.training.is_finite()
        if not is_finite and not self.refusal:
            log.error(
                "weights_not_finite", policy=self.config.policy, action="the last version stays"
            )
        self.refusal = "" if is_finite else "non_finite"
        return is_finite

    # -- checkpoints --------------------------------------------------------------------------

    @property
    def saves_in_s(self) -> float:
        """Seconds until a checkpoint is due; infinite when the last one has everything."""
        if self._saved == (self.training.progress.offset, self.training.updates):
            return math.inf
        every_s = self.config.learning.checkpoint_every_s
        return self._saved_at + every_s - time.monotonic()

    async def save(self) -> None:
        """Writes a checkpoint, unless it would keep weights that are not finite.

        Raises:
            OSError: it cannot be written; the one before it stays.
        """
        self._saved_at = time.monotonic()
        if not self._is_fit():
            return
        version = self.published.version if self.published else 0
        made_at = rfc3339(now_ms())
        await asyncio.to_thread(self.training.save, self._folder, version, made_at)
        self._saved = (self.training.progress.offset, self.training.updates)
        self.checkpoint = self.training.progress.position

    async def _compute(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._place.arithmetic, lambda: function(*args, **kwargs))
