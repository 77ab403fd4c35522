"""Approvals as /act and the API make them, without HTTP, at times that the test chooses.

async with open_desk(redis_url) as desk:
    await desk.ask("d1")
    await desk.end("d1", "approved", by="ana")
    assert await desk.recorded("d1") ...
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis

from service.approvals import logic
from service.approvals.repository import SCRIPTS, ApprovalQueue, ApprovalRepository, Outcome
from service.approvals.rule import ApprovalRule
from service.approvals.schemas import Item, NewApproval
from service.decisions.records import DecisionRecord, decode_record, encode_record
from service.decisions.repository import RECORD, EpisodePlace, NewDecision, read_record
from service.redis_link import LinkLimits, RedisLink
from service.spool import Spool
from tests.support.ledgers import World, open_world
from tests.support.policies import bandit

HOLD = ApprovalRule(least_confidence=0.9, otherwise="hold", wait_s=60)
ANSWER = ApprovalRule(least_confidence=0.9, otherwise="fallback", wait_s=60)


class Desk:
    """One policy, whose decisions need a person. `world`: the rest of the service."""

    def __init__(self, world: World, link: RedisLink, client: Redis) -> None:
        self.world = world
        self.keys = world.keys
        self.queue = ApprovalQueue(link)
        self.approvals = ApprovalRepository(client)
        self.client = client

    def new(
        self,
        decision_id: str,
        rule: ApprovalRule = HOLD,
        *,
        requester: str = "shop",
        episode: tuple[str, int] | None = None,
        kept: tuple[bytes, bytes] = (b"", b""),
        digest: bytes = b"digest",
        causes: Sequence[str] = ("least_confidence",),
    ) -> NewApproval:
        """A proposal of b, where a would be the fallback."""

        def made(action: str, propensity: float, reason: str, carry: bytes) -> NewDecision:
            record = self.world.decision(
                decision_id, action=action, propensity=propensity, episode=episode
            )
            answer = msgspec.json.decode(record.response) | {"reason": reason}
            record = msgspec.structs.replace(record, response=msgspec.json.encode(answer))
            place = EpisodePlace(*episode) if episode else None
            return NewDecision(
                decision_id,
                digest,
                encode_record(record),
                "decision",
                record.deadline_ms,
                True,
                record.made_ms,
                place,
                carry,
            )

        return logic.about_decision(
            rule,
            made("b", 0.3, "human", kept[0]),
            made("a", 1.0, "fallback", kept[1]),
            requester=requester,
            causes=causes,
            at_ms=self.world.now_ms,
        )

    async def ask(self, decision_id: str, rule: ApprovalRule = HOLD, **about: Any) -> Any:
        """The reply of the script to /act."""
        return await self.queue.ask(self.keys, self.new(decision_id, rule, **about))

    async def item(self, decision_id: str) -> Item:
        found = await self.approvals.find(self.keys, logic.approval_id_of(decision_id))
        assert found is not None
        return found

    async def end(
        self, decision_id: str, verdict: logic.Verdict, *, by: str = "ana", why: str = "looks right"
    ) -> Outcome:
        """One try to end it, now."""
        item, at_ms = await self.item(decision_id), self.world.now_ms
        ending = logic.resolution(self.world.config, item, verdict, who=by, why=why, at_ms=at_ms)
        return await self.approvals.resolve(self.keys, item, ending)

    async def recorded(self, decision_id: str) -> DecisionRecord | None:
        found = await read_record(self.client, self.keys, decision_id)
        return None if found is None else decode_record(found)

    async def action(self, decision_id: str) -> tuple[str, float, str] | None:
        """Action, propensity and reason of what really acted."""
        record = await self.recorded(decision_id)
        if record is None:
            return None
        answer = msgspec.json.decode(record.response)
        return answer["action"]["id"], answer["propensity"], answer["reason"]

    async def audited(self) -> list[tuple[str, str, str]]:
        """State, who and why of every event."""
        entries = await self.approvals.untold(self.keys, 1000)
        return [(entry.state, entry.event.who, entry.event.why) for entry in entries]

    async def logged(self, kind: str) -> list[bytes]:
        """Bodies of the log's events of one type."""
        entries: Any = await self.client.xrange(self.keys.log)
        return [fields[b"b"] for _, fields in entries if fields[b"t"] == kind.encode()]


@asynccontextmanager
async def open_desk(redis_url: str, document: dict[str, Any] | None = None) -> AsyncIterator[Desk]:
    """A registered policy with everything that asks, answers and joins."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_world(redis_url, document or bandit()) as world:
            link = await RedisLink.open(
                redis_url,
                scripts=[script.text for script in (RECORD, *SCRIPTS)],
                spool=Spool.claim(Path(folder)),
                limits=LinkLimits(confirm_timeout_s=10.0),
            )
            try:
                yield Desk(world, link, world.client)
            finally:
                await link.close()
