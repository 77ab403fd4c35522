"""Every Redis command of approvals. Only `ask` is on the path of /act.

nacre:{p}:approvals                 sorted set: approvals that wait for a person, by deadline in ms
nacre:{p}:approval:<approval id>    hash: state, what is asked, deadline, the two decisions, how it ended
nacre:{p}:approval.closed           sorted set: the newest that ended, by when
nacre:{p}:approval.audit            stream: asked, approved, rejected, expired, void, used, in order
nacre:{p}:approval.told             string: the event of the audit that was announced last
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec
from redis.asyncio import Redis

from service.approvals.schemas import Asked, Item, NewApproval, State
from service.decisions.repository import RECORD, NewDecision
from service.policies.schemas import PolicyEvent
from service.redis_link import RedisLink
from service.repository import PolicyKeys, Script, raw, text

EVENTS_KEPT: Final = 100_000
CLOSED_KEPT: Final = 10_000
_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode
_asked = msgspec.json.Decoder(Asked).decode
_event = msgspec.json.Decoder(PolicyEvent).decode
_decision = msgspec.msgpack.Decoder(NewDecision).decode


def _load(name: str, *, records: bool = False) -> Script:
    """A script of this package; one that records a decision has `record.lua` in it as a function, because no
    script can call another and both must happen at once."""
    own = Script.load("service.approvals", name)
    if not records:
        return own
    whole = f"local function record(KEYS, ARGV)\n{RECORD.text}\nend\n{own.text}"
    return Script(whole, hashlib.sha1(whole.encode(), usedforsecurity=False).hexdigest())


ASK: Final = _load("ask.lua", records=True)
_RECORD_UNLESS_HELD: Final = _load("record_unless_held.lua", records=True)
SCRIPTS: Final = (ASK, _RECORD_UNLESS_HELD)
"""Those that go through the link, which must have loaded them."""
_RESOLVE: Final = _load("resolve.lua", records=True)
_ASK_PROMOTION: Final = _load("ask_promotion.lua")
_USE: Final = _load("use.lua")


class ApprovalKeys:
    """The key names of one policy's approvals."""

    __slots__ = ("audit", "closed", "item_prefix", "pending", "policy", "told")

    def __init__(self, policy: PolicyKeys) -> None:
        root = f"nacre:{{{policy.policy}}}:"
        self.policy = policy
        self.pending = root + "approvals"
        self.item_prefix = root + "approval:"
        self.closed = root + "approval.closed"
        self.audit = root + "approval.audit"
        self.told = root + "approval.told"


class Resolution(NamedTuple):
    """How an approval is to end. `void`: the event that stands for `event` where it turns out void."""

    state: Literal["approved", "rejected", "expired"]
    at_ms: int
    event: PolicyEvent
    void: PolicyEvent
    keep_ms: int
    sha256: str = ""
    record: NewDecision | None = None


class Outcome(NamedTuple):
    """What came of a resolution: `done` with the state it has now, `closed` with the one that it had, `late`
    or `unknown`."""

    word: Literal["done", "closed", "late", "unknown"]
    state: str = ""


class AuditEntry(NamedTuple):
    """One event of the audit. `state`: of the approval after it, or `used`."""

    entry_id: str
    approval_id: str
    state: str
    event: PolicyEvent


class ApprovalQueue:
    """Asks about decisions, through the group-commit link."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def record(self, keys: PolicyKeys, new: NewDecision, approval_id: str) -> asyncio.Future[Any]:
        """Records a decision of a policy that holds others, unless this one is held; see
        `record_unless_held.lua` for the replies. For decisions that somebody may send again: the id is theirs."""
        return self._link.append(
            "EVALSHA", _RECORD_UNLESS_HELD.sha, 9,
            *_record_keys(keys, new), ApprovalKeys(keys).item_prefix + approval_id,
            *_record_arguments(new),
        )  # fmt: skip

    def ask(self, keys: PolicyKeys, new: NewApproval) -> asyncio.Future[Any]:
        """Queues the question; see `ask.lua` for the replies."""
        own = ApprovalKeys(keys)
        return self._link.append(
            "EVALSHA", ASK.sha, 11,
            *_record_keys(keys, new.otherwise), own.item_prefix + new.approval_id, own.pending, own.audit,
            *_record_arguments(new.otherwise), *([] if new.otherwise.kept else [""]),
            new.approval_id, int(new.asked.is_held), new.most_pending, new.asked.due_ms,
            _encode(new.asked), _pack(new.proposed), _pack(new.otherwise), _encode(new.event), EVENTS_KEPT,
        )  # fmt: skip


class ApprovalRepository:
    """Everything else, through an ordinary client."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def ask_promotion(
        self, keys: PolicyKeys, approval_id: str, asked: Asked, sha256: str, event: PolicyEvent
    ) -> str:
        """`new`, or the state of the same question that stands already: pending, or approved and unused."""
        own = ApprovalKeys(keys)
        reply = await self._client.eval(
            _ASK_PROMOTION.text, 3, own.item_prefix + approval_id, own.pending, own.audit,
            approval_id, _encode(asked), asked.due_ms, sha256, _encode(event), EVENTS_KEPT,
        )  # fmt: skip
        return text(reply)

    async def resolve(self, keys: PolicyKeys, item: Item, resolution: Resolution) -> Outcome:
        """Ends an approval if it still waits; of all who try, one does."""
        own, held = ApprovalKeys(keys), resolution.record
        names = [own.item_prefix + item.approval_id, own.pending, own.closed, own.audit, keys.log]
        arguments: list[Any] = [
            item.approval_id, resolution.state, resolution.at_ms,
            _encode(resolution.event), _encode(resolution.void), resolution.sha256,
            resolution.keep_ms, item.asked.decision_id, EVENTS_KEPT, CLOSED_KEPT,
        ]  # fmt: skip
        if held is not None:
            names += _record_keys(keys, held)
            arguments += _record_arguments(held)
        reply: Any = await self._client.eval(_RESOLVE.text, len(names), *names, *arguments)
        return Outcome(*map(text, reply))  # type: ignore[arg-type]  # the script's words

    async def use(
        self,
        keys: PolicyKeys,
        approval_id: str,
        *,
        sha256: str,
        at_ms: int,
        event: PolicyEvent,
        void: PolicyEvent,
    ) -> str:
        """Uses up an approved promotion; see `use.lua` for the reply."""
        own = ApprovalKeys(keys)
        reply = await self._client.eval(
            _USE.text, 2, own.item_prefix + approval_id, own.audit,
            approval_id, sha256, at_ms, _encode(event), _encode(void), EVENTS_KEPT,
        )  # fmt: skip
        return text(reply)

    # -- reading --------------------------------------------------------------------------------

    async def find(self, keys: PolicyKeys, approval_id: str) -> Item | None:
        """One approval with its decisions, while it is kept."""
        own = ApprovalKeys(keys)
        fields = await self._client.hgetall(own.item_prefix + approval_id)
        named = {text(name): raw(value) for name, value in fields.items()}
        return _item(approval_id, named) if "state" in named else None

    async def state(self, keys: PolicyKeys, approval_id: str) -> State | None:
        """How one approval stands; None if there is none."""
        found = await self._client.hget(ApprovalKeys(keys).item_prefix + approval_id, "state")
        return None if found is None else text(found)  # type: ignore[return-value]  # what scripts write

    async def newest(self, keys: PolicyKeys, state: State, count: int) -> list[Item]:
        """Up to `count` approvals in a state, without their decisions: of those that wait the most urgent first,
        of others the newest first."""
        own = ApprovalKeys(keys)
        if state == "pending":
            ids = await self._client.zrange(own.pending, 0, count - 1)
        else:
            ids = await self._client.zrevrange(own.closed, 0, CLOSED_KEPT)
        found: list[Item] = []
        for start in range(0, len(ids), count):
            page = await self._briefly(own, [text(one) for one in ids[start : start + count]])
            found += [item for item in page if item.state == state]
            if len(found) >= count:
                break
        return found[:count]

    async def _briefly(self, own: ApprovalKeys, ids: Sequence[str]) -> list[Item]:
        names = ("state", "asked", "sha256", "closing", "used")
        async with self._client.pipeline(transaction=False) as pipe:
            for approval_id in ids:
                pipe.hmget(own.item_prefix + approval_id, names)
            replies = await pipe.execute()
        rows = (dict(zip(names, reply, strict=True)) for reply in replies)
        given = ({n: v for n, v in row.items() if v is not None} for row in rows)
        return [
            _item(approval_id, row)
            for approval_id, row in zip(ids, given, strict=True)
            if "asked" in row
        ]

    async def due(self, keys: PolicyKeys, at_ms: int, count: int) -> list[str]:
        """Approvals whose deadline has passed, the oldest first."""
        pending = ApprovalKeys(keys).pending
        found = await self._client.zrangebyscore(pending, "-inf", at_ms, start=0, num=count)
        return [text(one) for one in found]

    async def drop(self, keys: PolicyKeys, approval_id: str) -> None:
        """Nobody waits for it any more."""
        await self._client.zrem(ApprovalKeys(keys).pending, approval_id)

    async def pending(self, keys: PolicyKeys) -> int:
        """How many wait."""
        return int(await self._client.zcard(ApprovalKeys(keys).pending))

    async def oldest(self, keys: PolicyKeys) -> Item | None:
        """The one that waits and ends first, without its decisions."""
        found = await self.newest(keys, "pending", 1)
        return found[0] if found else None

    # -- the audit ------------------------------------------------------------------------------

    async def untold(self, keys: PolicyKeys, count: int) -> list[AuditEntry]:
        """Up to `count` events that were not announced, oldest first."""
        own = ApprovalKeys(keys)
        told = await self._client.get(own.told)
        after = f"({text(told)}" if told else "-"
        entries: Any = await self._client.xrange(own.audit, min=after, count=count)
        return [_entry(*one) for one in entries]

    async def tell(self, keys: PolicyKeys, entry_id: str) -> None:
        """Everything up to an event was announced."""
        await self._client.set(ApprovalKeys(keys).told, entry_id)


def _record_keys(keys: PolicyKeys, new: NewDecision) -> list[str]:
    """The keys of `record.lua`."""
    episode_id = new.episode.episode_id if new.episode else ""
    return [
        keys.log, keys.due, keys.counts, keys.early, keys.episodes,
        keys.decision_prefix + new.decision_id, keys.ledger_prefix + new.decision_id,
        keys.episode_prefix + episode_id,
    ]  # fmt: skip


def _record_arguments(new: NewDecision) -> list[Any]:
    """The arguments of `record.lua`; the last only where an episode is to remember something."""
    episode_id, step = (new.episode.episode_id, new.episode.step) if new.episode else ("", 0)
    always = [
        new.decision_id, new.digest, new.record, new.kind, new.due_ms, int(new.activated),
        episode_id, step, new.made_ms,
    ]  # fmt: skip
    return [*always, new.kept] if new.kept else always


def _item(approval_id: str, fields: Mapping[str, bytes]) -> Item:
    closing, proposed, otherwise = (fields.get(n) for n in ("closing", "proposed", "otherwise"))
    return Item(
        approval_id=approval_id,
        asked=_asked(fields["asked"]),
        state=text(fields["state"]),  # type: ignore[arg-type]  # what scripts write
        sha256=text(fields.get("sha256", b"")),
        closing=_event(closing) if closing else None,
        used_ms=int(fields["used"]) if "used" in fields else None,
        proposed=_decision(proposed) if proposed else None,
        otherwise=_decision(otherwise) if otherwise else None,
    )


def _entry(entry_id: Any, fields: Mapping[bytes, bytes]) -> AuditEntry:
    return AuditEntry(
        text(entry_id), text(fields[b"id"]), text(fields[b"state"]), _event(fields[b"b"])
    )
