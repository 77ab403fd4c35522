"""Joins feedback to decisions: one batch of one policy at a time.

    due ids -> load -> settle -> follow (in episodes) -> encode -> write, unless something changed

A decision that cannot be read is closed as `unreadable`: it is counted, and holds up nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog
from redis.exceptions import RedisError

from agent_core.errors import AgentCoreError
from service import metrics
from service.decisions.records import decode_record
from service.decisions.repository import EpisodePlace
from service.errors import ServiceError
from service.feedback.ledger import Ledger, read_ledger
from service.feedback.schemas import EpisodeEnd
from service.joining.frames import Frames
from service.joining.logic import (
    NOTHING,
    Closed,
    EpisodeFacts,
    Frame,
    JoinedEvent,
    NextDecision,
    Parked,
    Settled,
    Successor,
    Taken,
    Terminated,
    after_the_end,
    carry_after,
    follow,
    joined_event,
    next_step,
    read_taken,
    settle,
    transition_of,
)
from service.joining.repository import CLOSED, Finish, JoinRepository, Life, Park
from service.policies.config import PolicyConfig
from service.policies.repository import PolicyMeta
from service.replay.codec import encode_transition
from service.repository import PolicyKeys

log = structlog.get_logger(__name__)

_UNREADABLE: Final = (msgspec.MsgspecError, ServiceError, AgentCoreError, ValueError, KeyError)
_event = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """One policy as the worker last saw it."""

    keys: PolicyKeys
    config: PolicyConfig
    meta: PolicyMeta
    quarantined: frozenset[int]

    @property
    def catalog(self) -> int:
        """The newest revision."""
        return self.meta.catalog


@dataclass(frozen=True, slots=True)
class _Open:
    """A decision whose reward is known and whose transition is not built yet."""

    life: Life
    taken: Taken
    ledger: Ledger
    settled: Settled


_Verdict = Finish | Park


class Joiner:
    """Turns stored decisions into finished transitions, each exactly once."""

    def __init__(self, repository: JoinRepository, frames: Frames) -> None:
        self._repository = repository
        self._frames = frames

    async def join(self, policy: Watched, ids: Sequence[bytes], now_ms: int) -> int:
        """Closes or parks the decisions `ids`; returns how many were closed.

        Raises:
            RedisError: Redis did not answer, or refused a write. Nothing is half done: ask again.
        """
        lives = await self._repository.lives(policy.keys, ids)
        found = [_examine(policy, life, now_ms) for life in lives]
        waiting = [one for one in found if isinstance(one, _Open)]
        after = await self._after(policy, waiting, now_ms)
        verdicts = [
            await self._finish(policy, one, after.get(one.life.decision_id, NOTHING))
            if isinstance(one, _Open)
            else one
            for one in found
        ]
        return await self._write(policy, verdicts)

    async def _finish(self, policy: Watched, one: _Open, after: Successor | _Verdict) -> _Verdict:
        if not isinstance(after, Successor):
            return after
        frame = await self._frames.of(policy.keys, one.taken)
        if frame is None:
            return _unreadable(one.life, "its configuration or catalog is gone")
        return _encode(policy, one, frame, after)

    # -- episodes -----------------------------------------------------------------------------

    async def _after(
        self, policy: Watched, waiting: Sequence[_Open], now_ms: int
    ) -> dict[str, Successor | _Verdict]:
        """For each step of an episode what follows it, or its verdict if nothing does (yet)."""
        rule = policy.config.episodes
        steps = [(one, one.taken.place) for one in waiting if rule and one.taken.place]
        if rule is None or not steps:
            return {}
        facts = await self._repository.episodes(policy.keys, [place for _, place in steps])
        idle_ms = int(rule.idle_s * 1000)
        following = [
            _follow(one, place, known, idle_ms, now_ms)
            for (one, place), known in zip(steps, facts, strict=True)
        ]
        next_ids = [one.decision_id for one in following if isinstance(one, NextDecision)]
        records = dict(
            zip(next_ids, await self._repository.records(policy.keys, next_ids), strict=True)
        )
        return {
            one.life.decision_id: await self._successor(policy, one, follows, records)
            for (one, _), follows in zip(steps, following, strict=True)
        }

    async def _successor(
        self,
        policy: Watched,
        one: _Open,
        follows: NextDecision | EpisodeEnd | Terminated | _Verdict,
        records: Mapping[str, bytes | None],
    ) -> Successor | _Verdict:
        match follows:
            case Terminated():
                return NOTHING
            case NextDecision(decision_id):
                found = await self._next_decision(policy, one, records[decision_id])
            case EpisodeEnd():
                found = await self._end(policy, one, follows)
            case _:
                return follows
        return found or _close(one.life, one.taken, one.ledger, _no_successor(one))

    async def _next_decision(
        self, policy: Watched, one: _Open, record: bytes | None
    ) -> Successor | None:
        if record is None:
            return None
        try:
            taken = read_taken(decode_record(record))
            frame = await self._frames.of(policy.keys, taken)
            if frame is None or frame.feature_schema != one.taken.feature_schema:
                return None
            return next_step(taken, frame)
        except _UNREADABLE as error:
            log.warning("successor_unreadable", decision=one.life.decision_id, error=str(error))
            return None

    async def _end(self, policy: Watched, one: _Open, end: EpisodeEnd) -> Successor | None:
        """The end was sent when the newest catalog was in force, maybe not that of the last step."""
        frame = await self._frames.at(policy.keys, policy.config.config_hash, policy.catalog)
        own = await self._frames.of(policy.keys, one.taken)
        if frame is None or own is None or frame.feature_schema != one.taken.feature_schema:
            return None
        try:
            return after_the_end(end, frame, carry_after(one.taken, own))
        except _UNREADABLE as error:
            log.warning("end_unreadable", decision=one.life.decision_id, error=str(error))
            return None

    # -- writing ------------------------------------------------------------------------------

    async def _write(self, policy: Watched, verdicts: Sequence[_Verdict]) -> int:
        keep_ms = int(policy.config.retention_s * 1000)
        replies = await self._repository.write(policy.keys, verdicts, keep_ms)
        closed = Counter(
            verdict.outcome
            for verdict, reply in zip(verdicts, replies, strict=True)
            if isinstance(verdict, Finish) and reply == CLOSED
        )
        for outcome, count in closed.items():
            metrics.JOINED.labels(policy.keys.policy, outcome).inc(count)
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
        return closed.total()


def _examine(policy: Watched, life: Life, now_ms: int) -> _Open | _Verdict:
    """Whether the time of a decision has come, and what its reward is."""
    try:
        record = decode_record(life.record or b"")
        taken, ledger = read_taken(record), read_ledger(life.ledger, policy.config.reward)
        found = settle(
            taken,
            ledger,
            policy.config,
            is_activated=life.is_activated,
            deadline_ms=record.deadline_ms,
            quarantined=policy.quarantined,
            now_ms=now_ms,
        )
    except _UNREADABLE as error:
        return _unreadable(life, str(error))
    if isinstance(found, Settled):
        return _Open(life, taken, ledger, found)
    return _close(life, taken, ledger, found)


def _follow(
    one: _Open, place: EpisodePlace, facts: EpisodeFacts, idle_ms: int, now_ms: int
) -> NextDecision | EpisodeEnd | Terminated | _Verdict:
    try:
        found = follow(place.step, facts, idle_ms=idle_ms, now_ms=now_ms)
    except msgspec.MsgspecError as error:
        return _unreadable(one.life, str(error))
    if isinstance(found, Closed):
        return _close(one.life, one.taken, one.ledger, _no_successor(one))
    if isinstance(found, Parked):
        return _close(one.life, one.taken, one.ledger, found)
    return found


def _encode(policy: Watched, one: _Open, frame: Frame, successor: Successor) -> _Verdict:
    life, taken, settled = one.life, one.taken, one.settled
    try:
        transition = transition_of(life.decision_id, taken, settled, frame, successor)
    except _UNREADABLE as error:
        return _unreadable(life, str(error))
    event = _event(joined_event(taken, one.ledger, settled))
    schema = policy.config.reward.transition_schema(frame.feature_schema)
    encoded = encode_transition(transition, schema)
    return Finish(life, settled.outcome, encoded, event)


def _close(life: Life, taken: Taken, ledger: Ledger, verdict: Parked | Closed) -> _Verdict:
    if isinstance(verdict, Parked):
        episode_id = taken.place.episode_id if taken.place else ""
        return Park(life, verdict.until_ms, episode_id, verdict.next_step)
    event = joined_event(taken, ledger, verdict)
    return Finish(life, verdict.outcome, b"", _event(event))


def _no_successor(one: _Open) -> Closed:
    return Closed("no_successor", one.settled.reward, one.settled.cost)


def _unreadable(life: Life, why: str) -> Finish:
    log.warning(
        "decision_unreadable", decision=life.decision_id, why=why, action="closed, not learned"
    )
    return Finish(life, "unreadable", b"", _event(JoinedEvent("unreadable", None, 0.0, 0)))
