"""The versions that score logged decisions without acting: which, and ready to be asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog

from agent_core.errors import AgentCoreError
from service.clock import parse_ms
from service.joining.joiner import Watched
from service.policies import head
from service.policies.artefacts import ArtefactStore
from service.policies.catalog import CatalogDocument
from service.policies.repository import PolicyRepository, VersionDescription
from service.policies.served import ServedSets
from service.policies.store import assemble

log = structlog.get_logger(__name__)

_LOOK_MS: Final = 5_000


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A version, ready to be asked about decisions that were made after it was (`made_ms`): it has learned from
    those before, and would look better on them than it is."""

    version: int
    made_ms: int
    served: ServedSets


class Candidates:
    """Of one policy: its newest versions that have not been live yet, and the one that is on its way."""

    def __init__(self, policies: PolicyRepository, artefacts: ArtefactStore) -> None:
        self._policies = policies
        self._artefacts = artefacts
        self._ready: dict[int, Candidate] = {}
        self._unusable: set[int] = set()
        self._catalog = -1
        self._look_at_ms = 0

    @property
    def ready(self) -> list[Candidate]:
        """Newest first."""
        return sorted(self._ready.values(), key=lambda one: -one.version)

    async def refresh(self, policy: Watched, now_ms: int) -> bool:
        """Loads what is new, from time to time; whether it looked.

        Raises:
            RedisError: those that there were go on.
        """
        if now_ms < self._look_at_ms and policy.meta.catalog == self._catalog:
            return False
        self._look_at_ms = now_ms + _LOOK_MS
        wanted = await self._wanted(policy)
        document = await self._policies.catalog(policy.keys, policy.meta.catalog)
        if document is None:
            return False
        if policy.meta.catalog != self._catalog:
            self._catalog, self._ready = policy.meta.catalog, {}
        self._ready = {v: one for v, one in self._ready.items() if v in wanted}
        self._unusable &= wanted.keys()
        for version in wanted.keys() - self._ready.keys() - self._unusable:
            await self._load(policy, wanted[version], document)
        return True

    async def _wanted(self, policy: Watched) -> dict[int, VersionDescription]:
        found = {one.version: one for one in await self._policies.versions(policy.keys)}
        newer = [version for version in found if version > policy.meta.live]
        chosen = set(newer[-policy.config.rollout.shadow_versions :])
        rollout = head.read_rollout(policy.meta.rollout)
        if rollout is not None and rollout.candidate in found:
            chosen.add(rollout.candidate)
        return {version: found[version] for version in chosen}

    async def _load(
        self, policy: Watched, description: VersionDescription, document: CatalogDocument
    ) -> None:
        keys, version = policy.keys, description.version

        def load() -> object:
            snapshot = self._artefacts.load(keys.policy, version)
            return assemble(policy.config, snapshot, version, document, keys)

        try:
            # In a thread: reading and verifying a large snapshot must not hold up what follows the log.
            served = await asyncio.to_thread(load)
        except (AgentCoreError, OSError, ValueError) as error:
            self._unusable.add(version)
            log.warning("candidate_unusable", policy=keys.policy, version=version, error=str(error))
            return
        assert isinstance(served, ServedSets), "continuous actions are not scored"
        made_ms = parse_ms(description.made_at)
        self._ready[version] = Candidate(version, made_ms, served)
