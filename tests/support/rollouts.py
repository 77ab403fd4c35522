"""A policy with versions in a real Redis, a log that the test writes, and the worker's part of a rollout.

stage = Stage(redis_client, folder, neural(rollout={...}))
await stage.register()                                        # version 1 is live
await stage.publish()                                         # version 2 is a candidate
await stage.rewards("live", [1.0, 0.0])
await stage.turn()                                            # what the worker does every 200 ms
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis

from service.approvals.promotions import Promotions
from service.clock import rfc3339
from service.decisions.ids import new_id
from service.evaluation.repository import EvaluationRepository
from service.following.follower import Follower
from service.following.repository import FollowingRepository
from service.joining.joiner import Watched
from service.joining.logic import JoinedEvent
from service.policies import head
from service.policies.artefacts import ArtefactStore
from service.policies.config import PolicyConfig, parse_policy
from service.policies.head import Rollout, Trip
from service.policies.repository import PolicyMeta, PolicyRepository, VersionDescription
from service.policies.schemas import PolicyEvent
from service.repository import PolicyKeys
from service.rollout import logic, runner
from service.rollout.moves import Mover
from tests.support.served import snapshot_of

START_MS = 1_700_000_000_000


class Stage:
    """One policy, with a clock that only the test moves. `told`: what was announced."""

    def __init__(self, client: Redis, folder: Path, document: Mapping[str, Any]) -> None:
        self.client = client
        self.config: PolicyConfig = parse_policy(document)
        self.keys = PolicyKeys(self.config.policy)
        self.policies = PolicyRepository(client)
        self.artefacts = ArtefactStore(folder / "artefacts")
        self.evaluations = EvaluationRepository(client)
        self.promotions = Promotions(client, folder / "artefacts")
        self.now_ms = START_MS
        self.told: list[tuple[str, str, dict[str, Any]]] = []
        self.follower = self.new_worker()

    def new_worker(self) -> Follower:
        """A worker that knows only what Redis keeps."""
        opener = runner.opener(
            self.policies, self.evaluations, self.promotions, lambda *one: self.told.append(one)
        )
        return Follower(FollowingRepository(self.client), {runner.NAME: opener})

    async def register(self) -> None:
        body = msgspec.json.encode(self.config.model_dump(mode="json"))
        event = PolicyEvent(what="created", who="test", why="", at="")
        await self.policies.put_config(
            self.keys, body, self.config.config_hash, event=event, new_lineage=True
        )
        await self.publish(promote=True)

    async def publish(self, *, promote: bool = False) -> int:
        """One more version, as a learner makes it."""
        version = await self.policies.next_version(self.keys)
        self.artefacts.save(self.keys.policy, version, snapshot_of(self.config, version))
        description = VersionDescription(
            version=version,
            parent=version - 1,
            made_at=rfc3339(self.now_ms),
            config_hash=self.config.config_hash,
            feature_schema=self.config.agent.feature_schema,
            experience=0,
            updates=0,
            lineage=(await self.meta()).lineage,
        )
        await self.policies.publish(self.keys, description, promote=promote)
        return version

    async def start(self, version: int = 2, *, at: Any = "gate") -> None:
        """A person starts a rollout."""
        rollout = logic.begin(version, new_id(), self.config.rollout, self.now_ms, at=at)
        mover = Mover(self.policies, self.keys, await self.meta(), "ana", self.now_ms)
        assert await mover.start(rollout, "try it")

    async def trip(self) -> None:
        trip = Trip(trip_id="t", signal="reward", why="it fell", at_ms=self.now_ms)
        event = PolicyEvent(what="trip", who="monitor", why="it fell", at="")
        await self.policies.change_head(self.keys, "trip", b"", head.encode(trip), event=event)

    async def rewards(
        self, arm: str, rewards: Iterable[float], *, version: int | None = None, cost: float = 0.0
    ) -> None:
        """Decisions of one arm, made now, with their rewards, as the joiner logs them."""
        made_by = version if version is not None else 2 if arm == "canary" else 1
        async with self.client.pipeline(transaction=False) as pipe:
            for reward in rewards:
                joined = JoinedEvent("rewarded", reward, cost, made_by, arm, self.now_ms)
                body = msgspec.msgpack.encode(joined)
                pipe.xadd(self.keys.log, {"t": "joined", "d": new_id(), "b": body})
            await pipe.execute()

    async def turn(self, later_ms: int = 1_000) -> Rollout | None:
        """What the worker does until it has read the whole log, and then once more; the rollout after it."""
        self.now_ms += later_ms
        while await self.follower.follow(await self.watched(), self.now_ms):
            self.now_ms += 1_000
        return await self.rollout()

    async def rollout(self) -> Rollout | None:
        return head.read_rollout((await self.meta()).rollout)

    async def meta(self) -> PolicyMeta:
        meta = await self.policies.meta(self.keys)
        assert meta is not None
        return meta

    async def watched(self) -> Watched:
        quarantined = await self.policies.quarantined(self.keys)
        return Watched(self.keys, self.config, await self.meta(), quarantined)

    async def events(self) -> list[PolicyEvent]:
        """The audit, oldest first."""
        bodies = await self.policies.events(self.keys, 100)
        return [msgspec.json.decode(body, type=PolicyEvent) for body in reversed(bodies)]
