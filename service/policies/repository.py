"""Every Redis command of policies: their configuration, versions, live pointer and catalog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from service.policies import head
from service.policies.catalog import CatalogDocument
from service.redis_server import verify
from service.repository import HINTS, POLICIES, PolicyKeys, Script, raw, text

_LIVED: Final = Script.load("service.policies", "lived.lua").text
_PUBLISH: Final = _LIVED + Script.load("service.policies", "publish.lua").text
_POINT: Final = _LIVED + Script.load("service.policies", "point.lua").text
_CHANGE_HEAD: Final = _LIVED + Script.load("service.policies", "change_head.lua").text
_CATALOG: Final = Script.load("service.policies", "catalog.lua")
_encode = msgspec.json.encode
_EMPTY: Final = CatalogDocument(0, {})


@dataclass(frozen=True, slots=True)
class PolicyMeta:
    """The head of a policy: everything that a server compares to see whether it is up to date."""

    config: bytes
    live: int
    previous: int
    is_pinned: bool
    catalog: int
    lineage: int
    rollout: bytes = b""
    trip: bytes = b""

    def pointed(self) -> frozenset[int]:
        """The versions that decide, or may decide at any moment."""
        rollout, trip = head.read_rollout(self.rollout), head.read_trip(self.trip)
        candidate = rollout.candidate if rollout else 0
        return frozenset({self.live, self.previous, candidate, trip.version if trip else 0} - {0})


class VersionDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What the registry says about one version. Data range: stream ids of the replay stream. `lineage`: of the
    policy when it was made; versions of another one are another model's. 0 where nobody wrote it down."""

    version: int
    parent: int
    made_at: str
    config_hash: str
    feature_schema: str
    experience: int
    updates: int
    first: str = ""
    last: str = ""
    metrics: dict[str, float] = {}
    lineage: int = 0


class PolicyRepository:
    """Reads and writes through an ordinary client; nothing here is on the path of /act."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def syncs_every_write(self) -> bool:
        """Whether Redis has a write on its disk before it answers; False where it does not tell."""
        return (await verify(self._client)).appendfsync == "always"

    async def names(self) -> list[str]:
        return sorted(text(name) for name in await self._client.smembers(POLICIES))

    async def meta(self, keys: PolicyKeys) -> PolicyMeta | None:
        """The policy's head, or None when there is no such policy."""
        names = ("config", "live", "previous", "pinned", "catalog", "lineage", "rollout", "trip")
        found = await self._client.hmget(keys.meta, names)
        config, live, previous, pinned, catalog, lineage, rollout, trip = found
        if config is None:
            return None
        return PolicyMeta(
            raw(config),
            int(live or 0),
            int(previous or 0),
            pinned == b"1",
            int(catalog or 0),
            int(lineage or 0),
            raw(rollout or b""),
            raw(trip or b""),
        )

    async def put_config(
        self, keys: PolicyKeys, config: bytes, config_hash: str, *, event: Any, new_lineage: bool
    ) -> None:
        """Stores a policy's configuration; every configuration that ever decided stays findable."""
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.hset(keys.meta, mapping={"config": config, f"config:{config_hash}": config})
            if new_lineage:
                pipe.hincrby(keys.meta, "lineage", 1)
                pipe.hdel(keys.meta, "rollout", "trip")
            pipe.xadd(keys.log, {"t": "policy", "d": "", "b": _encode(event)})
            await pipe.execute()
        await self._client.sadd(POLICIES, keys.policy)
        await self.hint(keys.policy)

    async def config_of(self, keys: PolicyKeys, config_hash: str) -> bytes | None:
        """The configuration behind a `config_hash` of the log."""
        found = await self._client.hget(keys.meta, f"config:{config_hash}")
        return None if found is None else raw(found)

    async def next_version(self, keys: PolicyKeys) -> int:
        """A version number that nobody else has."""
        return int(await self._client.hincrby(keys.meta, "versions", 1))

    async def publish(
        self, keys: PolicyKeys, description: VersionDescription, *, promote: bool
    ) -> tuple[str, int]:
        """Adds a version; see `publish.lua` for the outcome."""
        body = _encode(description)
        reply = await self._client.eval(
            _PUBLISH,
            3,
            keys.meta,
            keys.versions,
            keys.log,
            description.version,
            body,
            int(promote),
            body,
        )
        await self.hint(keys.policy)
        return text(reply[0]), int(reply[1])

    async def point(
        self, keys: PolicyKeys, version: int | None, *, pin: bool, quarantine: bool, event: Any
    ) -> Sequence[str]:
        """Moves the live pointer; see `point.lua` for the reply."""
        target = "" if version is None else str(version)
        reply = await self._client.eval(
            _POINT,
            4,
            keys.meta,
            keys.versions,
            keys.log,
            keys.audit,
            target,
            int(pin),
            _encode(event),
            int(quarantine),
        )
        await self.hint(keys.policy)
        return [text(part) for part in reply]

    async def change_head(
        self,
        keys: PolicyKeys,
        field: head.Field,
        before: bytes,
        after: bytes,
        *,
        event: Any,
        live: int | None = None,
        quarantine: int | None = None,
    ) -> str:
        """Replaces `before` by `after` in the head; see `change_head.lua` for the reply.

        `live`: a version that goes live in the same moment. `quarantine`: one whose decisions must not be
        learned from any more.
        """
        target = "" if live is None else str(live)
        refused = "" if quarantine is None else str(quarantine)
        reply = await self._client.eval(
            _CHANGE_HEAD, 4, keys.meta, keys.versions, keys.log, keys.audit,
            field, before, after, _encode(event), target, refused,
        )  # fmt: skip
        await self.hint(keys.policy)
        return text(reply)

    async def events(self, keys: PolicyKeys, count: int) -> list[bytes]:
        """What was changed, by whom and why, newest first: JSON of `PolicyEvent`."""
        entries: Any = await self._client.xrevrange(keys.audit, count=count)
        return [fields[b"b"] for _, fields in entries]

    async def quarantined(self, keys: PolicyKeys) -> frozenset[int]:
        """Versions whose decisions must not be learned from."""
        fields = await self._client.hkeys(keys.meta)
        prefix = "quarantined:"
        names = (text(field) for field in fields)
        return frozenset(int(n.removeprefix(prefix)) for n in names if n.startswith(prefix))

    async def version(self, keys: PolicyKeys, version: int) -> VersionDescription | None:
        body = await self._client.hget(keys.versions, str(version))
        return None if body is None else msgspec.json.decode(body, type=VersionDescription)

    async def versions(self, keys: PolicyKeys) -> list[VersionDescription]:
        """Every version, oldest first."""
        bodies = await self._client.hvals(keys.versions)
        found = [msgspec.json.decode(body, type=VersionDescription) for body in bodies]
        return sorted(found, key=lambda one: one.version)

    async def forget(self, keys: PolicyKeys, versions: Sequence[int]) -> None:
        """Removes old versions from the registry."""
        if versions:
            await self._client.hdel(keys.versions, *map(str, versions))

    async def catalog(self, keys: PolicyKeys, revision: int) -> CatalogDocument | None:
        """The catalog at a revision; revision 0 is empty."""
        if revision == 0:
            return _EMPTY
        body = await self._client.get(keys.catalog_prefix + str(revision))
        return None if body is None else msgspec.json.decode(body, type=CatalogDocument)

    async def put_catalog(
        self, keys: PolicyKeys, document: CatalogDocument, *, event: Any, keep_ms: int
    ) -> bool:
        """Stores the next revision; False when somebody else was faster."""
        before = document.revision - 1
        done = await self._client.eval(
            _CATALOG.text, 4,
            keys.meta, keys.catalog_prefix + str(document.revision), keys.catalog_prefix + str(before), keys.log,
            before, document.revision, _encode(document), _encode(event), keep_ms,
        )  # fmt: skip
        await self.hint(keys.policy)
        return bool(done)

    async def counts(self, keys: PolicyKeys) -> dict[str, int]:
        """The account of the policy, with `pending` and the lengths of its streams.

        No MULTI: a full Redis refuses to queue even what only reads. Redis carries out what arrives in
        one piece without turning to another client, so the account adds up all the same.
        """
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.hgetall(keys.counts)
            pipe.zcard(keys.due)
            pipe.zcard(keys.early)
            pipe.xlen(keys.log)
            pipe.xlen(keys.replay)
            counts, pending, early, log, replay = await pipe.execute()
        known = {text(name): int(value) for name, value in counts.items()}
        return known | {
            "pending": pending,
            "early": early,
            "log_length": log,
            "replay_length": replay,
        }

    async def recent_decisions(self, keys: PolicyKeys, count: int) -> list[bytes]:
        """Records of the newest decisions, newest first."""
        entries: Any = await self._client.xrevrange(keys.log, count=count)
        return [fields[b"b"] for _, fields in entries if fields[b"t"] == b"decision"]

    async def hint(self, policy: str) -> None:
        """Tells servers to look now. Only a hint: they poll anyway."""
        await self._client.publish(HINTS, policy)
