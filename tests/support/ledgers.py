"""Decisions and rewards written as the API writes them, without HTTP, at times that the test chooses.

async with open_world(redis_url, bandit(reward={"wait_s": 60})) as world:
    await world.decide("d1")
    await world.reward("d1", 1.0)
    await world.join(at_ms=world.deadline_ms)
    [transition] = await world.transitions()
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
from redis.asyncio import Redis

from agent_core.types import Transition
from service.archive.logic import Event
from service.decisions.records import DecisionRecord, decode_record, encode_record
from service.decisions.repository import RECORD, DecisionRepository, EpisodePlace, NewDecision
from service.feedback.logic import RewardEvent, new_reward
from service.feedback.repository import SCRIPTS, FeedbackRepository, NewReward
from service.feedback.schemas import Reward
from service.joining.frames import Frames
from service.joining.joiner import Joiner, Watched
from service.joining.repository import JoinRepository
from service.policies.config import EpisodeRule, PolicyConfig, parse_policy
from service.policies.repository import PolicyRepository
from service.redis_link import LinkLimits, RedisLink
from service.replay.codec import decode_transition
from service.repository import PolicyKeys, text
from service.spool import Spool

START_MS = 1_700_000_000_000


class World:
    """One policy in a real Redis, with a clock that only the test moves."""

    def __init__(self, client: Redis, link: RedisLink, config: PolicyConfig) -> None:
        self.client = client
        self.config = config
        self.keys = PolicyKeys(config.policy)
        self.now_ms = START_MS
        self.deferred: set[str] = set()
        self.policies = PolicyRepository(client)
        self._decisions = DecisionRepository(link, client)
        self._feedback = FeedbackRepository(link)
        self.joins = JoinRepository(client)
        self.joiner = Joiner(self.joins, Frames(self.policies))
        self._ids = map(str, itertools.count())

    @property
    def deadline_ms(self) -> int:
        """When the reward window of a decision made now ends."""
        return self.now_ms + int(self.config.reward.wait_s * 1000)

    async def register(self) -> None:
        body = msgspec.json.encode(self.config.model_dump(mode="json"))
        await self.policies.put_config(
            self.keys, body, self.config.config_hash, event={}, new_lineage=False
        )

    # -- what the API does ------------------------------------------------------------------------

    def record_of(
        self,
        decision_id: str,
        *,
        kind: Literal["decision", "shadow"] = "decision",
        catalog: int = 0,
        request: Mapping[str, Any],
        response: Mapping[str, Any],
    ) -> DecisionRecord:
        return DecisionRecord(
            1,
            decision_id,
            kind,
            self.now_ms,
            self.deadline_ms,
            "json",
            catalog,
            msgspec.json.encode(request),
            msgspec.json.encode(response),
        )

    def decision(
        self,
        decision_id: str,
        *,
        observation: Sequence[float] = (1.0, 2.0),
        actions: Sequence[Any] = ("a", "b"),
        action: str = "a",
        propensity: float = 0.5,
        version: int = 1,
        catalog: int = 0,
        episode: tuple[str, int] | None = None,
        **request: Any,
    ) -> DecisionRecord:
        """A record as /act makes it."""
        ids = [one if isinstance(one, str) else one["id"] for one in actions]
        place = {"episode": {"episode_id": episode[0], "step": episode[1]}} if episode else {}
        asked = {
            "observation": {"vector": list(observation)},
            "actions": list(actions),
            **place,
            **request,
        }
        index = ids.index(action) if action in ids else 0
        answered = {
            "decision_id": decision_id,
            "policy": self.config.policy,
            "model_version": f"{self.config.policy}@{version}",
            "config_hash": self.config.config_hash,
            "feature_schema": self.config.agent.feature_schema,
            "action": {"id": action, "index": index},
            "propensity": propensity,
            "ranking": [{"id": i, "probability": 1 / len(ids), "score": 0.0} for i in ids],
            "reason": "policy",
            "reasons_detail": {"explored": False},
            "assignment": {"arm": "live", "arm_probability": 1.0, "arm_propensity": propensity},
            "mode": request.get("mode", "online"),
            "activated": True,
            "reward_deadline": "2026-01-01T00:00:00.000Z",
        }
        return self.record_of(decision_id, catalog=catalog, request=asked, response=answered)

    def shadow(self, decision_id: str, *, propensity: float | None = 0.25) -> DecisionRecord:
        """A record as /shadow makes it: the other system took b, we would have taken a."""
        asked: dict[str, Any] = {
            "observation": {"vector": [1.0, 2.0]},
            "actions": ["a", "b"],
            "action_id": "b",
            "behavior_policy": "legacy",
        }
        answered = {
            "decision_id": decision_id,
            "policy": self.config.policy,
            "config_hash": self.config.config_hash,
            "feature_schema": self.config.agent.feature_schema,
            "shadow": {
                "model_version": f"{self.config.policy}@1",
                "action_id": "a",
                "probability_of_logged_action": 0.25,
                "agrees": False,
            },
            "ranking": [],
            "reward_deadline": "2026-01-01T00:00:00.000Z",
        }
        if propensity is not None:
            asked["propensity"] = propensity
        return self.record_of(decision_id, kind="shadow", request=asked, response=answered)

    async def write(
        self, record: DecisionRecord, *, activated: bool = True, body: bytes | None = None
    ) -> Any:
        """Records a decision; `body` replaces the bytes that are stored, to damage them."""
        codec = msgspec.json if record.media == "json" else msgspec.msgpack
        step = codec.decode(record.request).get("episode")
        new = NewDecision(
            record.decision_id,
            b"digest",
            encode_record(record) if body is None else body,
            record.kind,
            record.deadline_ms,
            activated,
            record.made_ms,
            EpisodePlace(step["episode_id"], step["step"]) if step else None,
        )
        return await self._decisions.record(self.keys, new)

    async def decide(self, decision_id: str, *, activated: bool = True, **about: Any) -> Any:
        """Makes and records a decision; returns the reply of the script."""
        if not activated:
            self.deferred.add(decision_id)
        return await self.write(self.decision(decision_id, **about), activated=activated)

    async def reward(self, decision_id: str, value: float | None, **about: Any) -> str:
        """Sends one reward; returns its state. Without a `reward_id` it gets a new one."""
        about.setdefault("reward_id", f"r{next(self._ids)}")
        reward = Reward(decision_id=decision_id, reward=value, **about)
        new = new_reward(self.config.reward, reward, self.now_ms)
        reply = await self._feedback.reward(self.keys, self.config.reward, new, self.now_ms)
        return str(reply[0].decode())

    async def activate(self, decision_id: str) -> str:
        reply = await self._feedback.activate(self.keys, decision_id, b"", self.now_ms)
        return str(reply.decode())

    async def seal(self, episode_id: str, status: str, end: bytes = b"") -> str:
        event = msgspec.msgpack.encode([episode_id, status, self.now_ms])
        reply = await self._feedback.seal(
            self.keys, self.config, episode_id, status, end, event, self.now_ms
        )
        return str(reply.decode())

    async def redeliver(self, events: Iterable[Event]) -> None:
        """Sends everything again that the events of a log came from, as it came then."""
        for event in events:
            match event.type:
                case "decision" | "shadow":
                    record = decode_record(event.body)
                    await self.write(record, activated=event.decision_id not in self.deferred)
                case "reward" | "late_reward":
                    old = msgspec.msgpack.decode(event.body, type=RewardEvent)
                    new = NewReward(
                        event.decision_id, old.reward_id, old.entry, old.op, old.final, event.body
                    )
                    await self._feedback.reward(self.keys, self.config.reward, new, old.received_ms)
                case "activation":
                    await self.activate(event.decision_id)
                case "seal":
                    episode_id, status, _ = msgspec.msgpack.decode(event.body)
                    await self.seal(episode_id, status)

    # -- what the worker does ---------------------------------------------------------------------

    async def watched(self) -> Watched:
        meta = await self.policies.meta(self.keys)
        assert meta is not None
        quarantined = await self.policies.quarantined(self.keys)
        return Watched(self.keys, self.config, meta, quarantined)

    async def join(self, at_ms: int | None = None) -> int:
        """Joins until nothing is due; returns how many decisions were closed."""
        self.now_ms = self.now_ms if at_ms is None else at_ms
        policy, closed = await self.watched(), 0
        while True:
            [due] = await self.joins.due([self.keys], self.now_ms, 500)
            if not due:
                return closed
            closed += await self.joiner.join(policy, due, self.now_ms)

    async def seal_idle(self) -> int:
        since_ms = self.now_ms - int((self.config.episodes or _NO_EPISODES).idle_s * 1000)
        return await self.joins.seal_idle(self.keys, self.config, since_ms, self.now_ms, 10_000)

    async def forget_early(self) -> int:
        before_ms = self.now_ms - int(self.config.reward.early_s * 1000)
        return await self.joins.forget_early(self.keys, before_ms, 10_000)

    # -- what is seen -----------------------------------------------------------------------------

    async def transitions(self) -> list[Transition]:
        entries: Any = await self.client.xrange(self.keys.replay)
        return [decode_transition(fields[b"b"]).transition for _, fields in entries]

    async def counts(self) -> dict[str, int]:
        """The counters of the account that are not 0, with `pending`."""
        counts = await self.policies.counts(self.keys)
        return {
            name: count for name, count in counts.items() if count and not name.endswith("_length")
        }

    async def dump(self) -> dict[bytes, Any]:
        """Every key of the policy with its value, but for the counters of repeated deliveries."""
        found: dict[bytes, Any] = {}
        async for key in self.client.scan_iter(match=f"nacre:{{{self.config.policy}}}:*"):
            match await self.client.type(key):
                case b"hash":
                    value = await self.client.hgetall(key)
                    repeated = {b"reward_duplicate", b"reward_superseded", b"reward_unknown_reward"}
                    found[key] = {k: v for k, v in value.items() if k not in repeated}
                case b"stream":
                    found[key] = await self.client.xrange(key)
                case b"zset":
                    found[key] = await self.client.zrange(key, 0, -1, withscores=True)
        return found

    async def state(self, decision_id: str) -> str:
        state = await self.client.hget(self.keys.decision_prefix + decision_id, "s")
        return text(state) if state else "gone"


_NO_EPISODES = EpisodeRule()


@asynccontextmanager
async def open_world(redis_url: str, document: Mapping[str, Any]) -> AsyncIterator[World]:
    """A registered policy; what waits for Redis is in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        link = await RedisLink.open(
            redis_url,
            scripts=[script.text for script in (RECORD, *SCRIPTS)],
            spool=Spool.claim(Path(folder)),
            limits=LinkLimits(confirm_timeout_s=10.0),
        )
        try:
            async with Redis.from_url(redis_url) as client:
                world = World(client, link, parse_policy(document))
                await world.register()
                yield world
        finally:
            await link.close()
