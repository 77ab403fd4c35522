"""A registered policy with a version, and a live log of decisions with rewards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.archive.archiver import Archiver
from service.archive.repository import ArchiveRepository
from service.policies.artefacts import ArtefactStore
from service.policies.logic import register
from service.repository import PolicyKeys
from service.settings import Settings
from tests.support.api import settings_for
from tests.support.ledgers import World, open_world
from tests.support.policies import bandit


@dataclass(frozen=True)
class Shop:
    world: World
    settings: Settings

    @property
    def keys(self) -> PolicyKeys:
        return self.world.keys

    async def trade(self, decisions: int) -> None:
        """Two actions in turn; the first earns 1, the second nothing."""
        for i in range(decisions):
            await self.world.decide(f"d{i}", action="ab"[i % 2], actions=["a", "b"])
            await self.world.reward(f"d{i}", float(i % 2 == 0), cost=0.5)
        await self.world.join(at_ms=self.world.deadline_ms)

    async def archive(self) -> None:
        """Puts everything into the archive."""
        events = ArchiveRepository(self.world.client)
        archiver = Archiver(events, self.settings.archive, part_events=1000, every_s=0)
        [length] = await events.lengths([self.keys])
        await archiver.archive(self.keys, 1, length)


@asynccontextmanager
async def open_shop(
    redis_url: str, folder: Path, document: Mapping[str, Any] | None = None
) -> AsyncIterator[Shop]:
    settings = settings_for(redis_url, folder)
    async with open_world(redis_url, dict(document or bandit())) as world:
        store = ArtefactStore(settings.artefacts)
        await register(world.policies, store, world.config, who="test")
        yield Shop(world, settings)
