"""The policies that this server serves, each behind one reference, kept up to date.

    hint or poll -> head of the policy changed? -> load aside -> verify -> warm up -> replace the reference

A version that must not be served (truncated, other schema, not finite, wrong hash) leaves the old one
serving, and is reported by /readyz, a metric and a log line.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec
import structlog
from redis.exceptions import RedisError

from agent_core.agent import Agent
from agent_core.box_agent import BoxAgent
from agent_core.errors import AgentCoreError, SnapshotError
from agent_core.interfaces import BoxPolicy
from agent_core.snapshot import PolicySnapshot, restore_policy
from service import metrics
from service.errors import InvalidError, ServiceError
from service.policies.artefacts import ArtefactStore
from service.policies.catalog import CatalogDocument
from service.policies.config import PolicyConfig, parse_policy
from service.policies.encoding import Encoding
from service.policies.head import read_rollout, read_trip
from service.policies.repository import PolicyMeta, PolicyRepository
from service.policies.served import Served, ServedBox, ServedSets, Serving, serving_of
from service.repository import PolicyKeys
from service.security import Principal
from service.tally import Tally

log = structlog.get_logger(__name__)


def assemble(
    config: PolicyConfig,
    snapshot: PolicySnapshot,
    version: int,
    document: CatalogDocument,
    keys: PolicyKeys,
    tally: Tally | None = None,
) -> Served:
    """One policy at one version, verified and warm.

    Raises:
        SnapshotError: the snapshot does not fit the policy or does not score finitely.
        FeatureError: an action of the catalog does not fit the declared features.
    """
    policy = restore_policy(snapshot, config.agent)
    encoding = Encoding(config.agent, document)
    common: dict[str, Any] = {
        "config": config,
        "config_hash": config.config_hash,
        "feature_schema": config.agent.feature_schema,
        "version": version,
        "label": f"{config.policy}@{version}",
        "encoding": encoding,
        "keys": keys,
        "tally": tally or Tally(),
    }
    if isinstance(policy, BoxPolicy):
        by_box = BoxAgent(config.agent, policy, experience=snapshot.experience)
        return ServedBox(agent=by_box, **common)
    agent = Agent(config.agent, policy, experience=snapshot.experience)
    return ServedSets(
        agent=agent,
        prepared=agent.prepare(encoding.catalog),
        is_consistent=config.agent.exploration.is_consistent,
        **common,
    )


_MAY_APPEAR = frozenset({"missing", "OSError"})
"""Refusals that end when a shared folder catches up: looked at again at every poll."""


@dataclass(slots=True)
class _Slot:
    """What this server knows about one policy."""

    keys: PolicyKeys
    tally: Tally = field(default_factory=Tally)
    serving: Serving | None = None
    seen: PolicyMeta | None = None
    refused: str = ""


@dataclass(slots=True)
class PolicyStore:
    """Gives requests their `Served`, and swaps it in the background."""

    repository: PolicyRepository
    artefacts: ArtefactStore
    confirm_timeout_s: float
    _slots: dict[str, _Slot] = field(default_factory=dict)
    swaps: int = 0
    _refreshing: asyncio.Lock = field(default_factory=asyncio.Lock)

    # -- for requests -------------------------------------------------------------------------

    def served(self, policy: str | None, principal: Principal) -> Served:
        """The live version of a policy; the only one of the service when `policy` is None.

        Raises: as `serving`.
        """
        return self.serving(policy, principal).live

    def serving(self, policy: str | None, principal: Principal) -> Serving:
        """A policy with all that may decide for it.

        Raises:
            ServiceError: NotFound (also when the key may not use it), NotReady, or InvalidError.
        """
        name = policy if policy is not None else self._only(principal)
        slot = self._slots.get(name)
        if slot is None or not principal.may_use(name):
            raise ServiceError("NotFound", "there is no such policy")
        if slot.serving is None:
            raise ServiceError(
                "NotReady", "the policy has no version that can be served; see /readyz"
            )
        return slot.serving

    def _only(self, principal: Principal) -> str:
        names = list(self._slots) if principal.policies is None else self.names(principal)
        if len(names) == 1:
            return names[0]
        if not names:
            raise ServiceError("NotReady", "there is no policy; PUT one to /v1/policies/{policy}")
        raise InvalidError(
            "/policy", "the service has several policies; name one", field_code="required"
        )

    def names(self, principal: Principal) -> list[str]:
        """Policies that the caller may use."""
        return sorted(name for name in self._slots if principal.may_use(name))

    def tallies(self) -> list[tuple[str, Tally]]:
        """The counts of every policy."""
        return [(name, slot.tally) for name, slot in self._slots.items()]

    def all_served(self) -> list[Served]:
        """The live versions."""
        return [slot.serving.live for slot in self._slots.values() if slot.serving is not None]

    def refused(self) -> Mapping[str, str]:
        """Policies whose newest version was not taken, with the reason."""
        return {name: slot.refused for name, slot in self._slots.items() if slot.refused}

    # -- in the background --------------------------------------------------------------------

    async def refresh(self) -> None:
        """Looks at every policy once and swaps what changed.

        Raises:
            RedisError: Redis does not answer; everything keeps serving as it is.
        """
        async with self._refreshing:
            for name in await self.repository.names():
                await self._refresh_one(self._slots.setdefault(name, _Slot(PolicyKeys(name))))

    async def _refresh_one(self, slot: _Slot) -> None:
        meta = await self.repository.meta(slot.keys)
        if meta is None or meta.live == 0 or meta == slot.seen:
            return
        slot.seen = meta
        try:
            serving = await self._build(slot, meta)
        except (AgentCoreError, OSError, ValueError, msgspec.MsgspecError) as error:
            self._refuse(slot, meta.live, error)
            return
        before, slot.serving = slot.serving, serving
        version, arms = serving.live.version, [arm.name for arm in serving.arms]
        self.swaps += before is not None and before.live.version != version
        metrics.SWAPS.labels(slot.keys.policy).inc()
        metrics.VERSION.labels(slot.keys.policy).set(version)
        log.info("version_serving", policy=slot.keys.policy, version=version, arms=arms)

    async def _build(self, slot: _Slot, meta: PolicyMeta) -> Serving:
        document = await self.repository.catalog(slot.keys, meta.catalog)
        if document is None:
            raise SnapshotError("missing", f"catalog revision {meta.catalog} is not in Redis")
        # In a thread: reading and verifying a large snapshot must not hold up requests.
        return await asyncio.to_thread(self._assemble, slot, meta, document)

    def _assemble(self, slot: _Slot, meta: PolicyMeta, document: CatalogDocument) -> Serving:
        slot.refused = ""
        rollout, trip = read_rollout(meta.rollout), read_trip(meta.trip)
        canary = instead = None
        if trip is not None:
            instead = self._beside(slot, trip.version, meta, document)
        elif rollout is not None and rollout.share > 0:
            canary = self._beside(slot, rollout.candidate, meta, document)
        live = self._live(slot, meta, document, must_turn=trip is not None)
        return serving_of(live, canary=canary, rollout=rollout, trip=trip, instead=instead)

    def _live(
        self, slot: _Slot, meta: PolicyMeta, document: CatalogDocument, *, must_turn: bool
    ) -> Served:
        """The live version. A trip holds even where that cannot be loaded: then the one before stands in,
        which does not decide."""
        try:
            return self._load(slot, meta.live, meta, document)
        except (AgentCoreError, OSError, ValueError) as error:
            if slot.serving is None or not must_turn:
                raise
            self._refuse(slot, meta.live, error)
            return slot.serving.live

    def _beside(
        self, slot: _Slot, version: int, meta: PolicyMeta, document: CatalogDocument
    ) -> Served | None:
        """Another version than the live one; None if it is none, or cannot be served."""
        try:
            return self._load(slot, version, meta, document) if version else None
        except (AgentCoreError, OSError, ValueError) as error:
            self._refuse(slot, version, error)
            return None

    def _load(
        self, slot: _Slot, version: int, meta: PolicyMeta, document: CatalogDocument
    ) -> Served:
        """One version; one that this server holds already is taken as it is."""
        config = read_config(meta.config)
        # The live one too: while a policy is tripped it has no arm, and must be there when it recovers.
        held = (
            (slot.serving.live, *(arm.served for arm in slot.serving.arms)) if slot.serving else ()
        )
        for one in held:
            is_same = one.config is config and one.encoding.catalog_revision == document.revision
            if is_same and one.version == version:
                return one
        snapshot = self.artefacts.load(slot.keys.policy, version)
        return assemble(config, snapshot, version, document, slot.keys, slot.tally)

    def _refuse(self, slot: _Slot, version: int, error: Exception) -> None:
        """Tells of a version that is not taken; what was served before, or the rest, serves on."""
        slot.refused = f"version {version}: {error}"
        reason = error.reason if isinstance(error, SnapshotError) else type(error).__name__
        if reason in _MAY_APPEAR:
            slot.seen = None
        metrics.REFUSED_VERSIONS.labels(slot.keys.policy, reason).inc()
        log.error("version_refused", policy=slot.keys.policy, version=version, error=str(error))

    async def keep_fresh(self, hints: asyncio.Event, poll_s: float) -> None:
        """Refreshes on every hint, and at least every `poll_s`; never ends."""
        failing_since: float | None = None
        while True:
            try:
                await self.refresh()
                failing_since = None
            except (RedisError, OSError) as error:
                if failing_since is None:
                    failing_since = time.monotonic()
                    log.warning(
                        "policies_not_refreshed", error=str(error), action="serving what is loaded"
                    )
            try:
                await asyncio.wait_for(hints.wait(), poll_s)
            except TimeoutError:
                continue
            finally:
                hints.clear()


@lru_cache(maxsize=64)
def read_config(body: bytes) -> PolicyConfig:
    """A stored configuration, parsed once: a policy has few, a swap may happen every second."""
    return parse_policy(msgspec.json.decode(body))
