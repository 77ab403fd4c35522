"""Every Redis command of joining: a whole batch of decisions shares each round trip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from service.decisions.repository import EpisodePlace
from service.feedback.repository import SEAL, episode_keep_ms
from service.joining.logic import EpisodeFacts, Outcome
from service.policies.config import PolicyConfig
from service.repository import PolicyKeys, Script, text

FINISH: Final = Script.load("service.joining", "finish.lua")
PARK: Final = Script.load("service.joining", "park.lua")
ORPHAN: Final = Script.load("service.joining", "orphan.lua")
_SCRIPTS: Final = (FINISH, PARK, ORPHAN, SEAL)
CLOSED: Final = 1
"""What `finish.lua` answers when this call closed the decision."""


@dataclass(frozen=True, slots=True)
class Life:
    """A decision that may be due. `record` is None where the due list outlived the decision."""

    decision_id: str
    record: bytes | None
    is_activated: bool
    ledger: Mapping[str, bytes]

    @property
    def revision(self) -> bytes:
        """What must not have changed when the decision is closed."""
        return self.ledger.get("rev", b"0")


@dataclass(frozen=True, slots=True)
class Finish:
    """Closes a decision; `transition` is empty where nothing is to be learned."""

    life: Life
    outcome: Outcome
    transition: bytes
    event: bytes


@dataclass(frozen=True, slots=True)
class Park:
    """Puts a decision back until `until_ms`, or until `next_step` of its episode."""

    life: Life
    until_ms: int
    episode_id: str
    next_step: int | None


class JoinRepository:
    """Reads and writes through an ordinary client."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    # -- reading --------------------------------------------------------------

    async def due(
        self, policies: Sequence[PolicyKeys], now_ms: int, limit: int
    ) -> list[list[bytes]]:
        """For each policy, up to `limit` ids of decisions whose time has come, the longest due first."""
        async with self._client.pipeline(transaction=False) as pipe:
            for keys in policies:
                pipe.zrangebyscore(keys.due, "-inf", now_ms, 0, limit)
            return await pipe.execute()

    async def lives(self, keys: PolicyKeys, ids: Sequence[bytes]) -> list[Life]:
        """The decisions and their ledgers."""
        names = [decision_id.decode() for decision_id in ids]
        async with self._client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(keys.decision_prefix + name, "b", "a")
                pipe.hgetall(keys.ledger_prefix + name)
            replies = await pipe.execute()
        return [
            Life(name, record, activated == b"1", _fields(ledger))
            for name, (record, activated), ledger in zip(
                names, replies[::2], replies[1::2], strict=True
            )
        ]

    async def episodes(
        self, keys: PolicyKeys, places: Sequence[EpisodePlace]
    ) -> list[EpisodeFacts]:
        """What followed each step, as far as it is known."""
        async with self._client.pipeline(transaction=False) as pipe:
            for place in places:
                fields = (str(place.step + 1), "last", "sealed", "end")
                pipe.hmget(keys.episode_prefix + place.episode_id, *fields)
            replies = await pipe.execute()
        return [_facts(*reply) for reply in replies]

    async def records(self, keys: PolicyKeys, ids: Sequence[str]) -> list[bytes | None]:
        """The records of decisions; None where one is gone."""
        async with self._client.pipeline(transaction=False) as pipe:
            for decision_id in ids:
                pipe.hget(keys.decision_prefix + decision_id, "b")
            return await pipe.execute()

    # -- writing --------------------------------------------------------------

    async def write(
        self, keys: PolicyKeys, verdicts: Sequence[Finish | Park], keep_ms: int
    ) -> list[Any]:
        """Carries out verdicts, each only if nothing changed since it was read.

        Returns the reply of `finish.lua` or `park.lua` for each, or the error with which Redis refused
        it. `keep_ms`: how long a closed decision can still be looked up.
        """
        return await self._call(
            [
                _finish(keys, verdict, keep_ms)
                if isinstance(verdict, Finish)
                else _park(keys, verdict)
                for verdict in verdicts
            ]
        )

    async def forget_early(self, keys: PolicyKeys, before_ms: int, limit: int) -> int:
        """Forgets rewards that came before `before_ms` and whose decision did not; returns how many."""
        ids = await self._client.zrangebyscore(keys.early, "-inf", before_ms, 0, limit)
        return sum(
            _checked(await self._call([_orphan(keys, text(name), before_ms) for name in ids]))
        )

    async def seal_idle(
        self, keys: PolicyKeys, config: PolicyConfig, idle_since_ms: int, now_ms: int, limit: int
    ) -> int:
        """Seals episodes without activity since `idle_since_ms` as truncated; returns how many."""
        ids = await self._client.zrangebyscore(keys.episodes, "-inf", idle_since_ms, 0, limit)
        keep_ms = episode_keep_ms(config)
        calls = [_seal(keys, text(name), idle_since_ms, now_ms, keep_ms) for name in ids]
        return _checked(await self._call(calls)).count(b"sealed")

    async def _call(self, calls: Sequence[_Call]) -> list[Any]:
        """The replies of script calls, again for those whose script Redis had forgotten."""
        replies = await self._send(calls)
        missing = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if missing:
            for script in _SCRIPTS:
                await self._client.script_load(script.text)
            again = await self._send([calls[at] for at in missing])
            for at, reply in zip(missing, again, strict=True):
                replies[at] = reply
        return replies

    async def _send(self, calls: Sequence[_Call]) -> list[Any]:
        if not calls:
            return []
        async with self._client.pipeline(transaction=False) as pipe:
            for script, touched, arguments in calls:
                pipe.evalsha(script.sha, len(touched), *touched, *arguments)
            return await pipe.execute(raise_on_error=False)


_Call = tuple[Script, Sequence[str], Sequence[str | bytes | int]]


def _finish(keys: PolicyKeys, verdict: Finish, keep_ms: int) -> _Call:
    life = verdict.life
    decision, ledger = _both(keys, life.decision_id)
    return (
        FINISH,
        (decision, ledger, keys.log, keys.due, keys.counts, keys.replay),
        (
            life.decision_id, life.revision, verdict.outcome, verdict.transition, verdict.event, keep_ms,
            int(life.is_activated),
        ),
    )  # fmt: skip


def _park(keys: PolicyKeys, verdict: Park) -> _Call:
    life = verdict.life
    decision, ledger = _both(keys, life.decision_id)
    next_step = "" if verdict.next_step is None else verdict.next_step
    return (
        PARK,
        (decision, ledger, keys.due, keys.episode_prefix + verdict.episode_id),
        (life.decision_id, life.revision, verdict.until_ms, next_step, int(life.is_activated)),
    )


def _orphan(keys: PolicyKeys, decision_id: str, before_ms: int) -> _Call:
    decision, ledger = _both(keys, decision_id)
    return ORPHAN, (keys.early, ledger, decision, keys.counts), (decision_id, before_ms)


def _seal(
    keys: PolicyKeys, episode_id: str, idle_since_ms: int, now_ms: int, keep_ms: int
) -> _Call:
    event = msgspec.msgpack.encode([episode_id, "truncated", now_ms])
    return (
        SEAL,
        (keys.episode_prefix + episode_id, keys.episodes, keys.log, keys.due),
        (episode_id, "truncated", "", now_ms, event, keep_ms, idle_since_ms),
    )


def _both(keys: PolicyKeys, decision_id: str) -> tuple[str, str]:
    return keys.decision_prefix + decision_id, keys.ledger_prefix + decision_id


def _checked(replies: list[Any]) -> list[Any]:
    """Raises the first refusal among the replies."""
    for reply in replies:
        if isinstance(reply, RedisError):
            raise reply
    return replies


def _fields(ledger: Mapping[bytes, bytes]) -> dict[str, bytes]:
    return {name.decode(): value for name, value in ledger.items()}


def _facts(
    next_id: bytes | None, last: bytes | None, sealed: bytes | None, end: bytes | None
) -> EpisodeFacts:
    return EpisodeFacts(
        next_id.decode() if next_id else None,
        int(last) if last else None,
        sealed.decode() if sealed else None,
        end,
    )
