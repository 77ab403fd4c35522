"""/act, /act:batch and the decision lookup: HTTP in, HTTP out."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from typing import Any, Final

import msgspec

from service import bodies, metrics
from service.approvals.logic import approval_id_of, held_answer
from service.approvals.repository import ApprovalQueue
from service.approvals.schemas import NewApproval
from service.clock import now_ms
from service.decisions import making
from service.decisions.ids import new_id
from service.decisions.past import FRESH, NO_HISTORY, UNAVAILABLE, Past, past_of
from service.decisions.records import (
    RECORD_FORMAT,
    DecisionRecord,
    decode_record,
)
from service.decisions.repository import DecisionRepository, NewDecision
from service.decisions.schemas import ActRequest, BatchRequest
from service.errors import InvalidError, Problem, ServiceError
from service.hot import SPOOLED, Answer, HotRequest, confirmed
from service.policies.served import Served, Serving
from service.policies.store import PolicyStore
from service.redis_link import UNCONFIRMED, BackpressureError, LinkReplyError

_ENCODE = msgspec.json.Encoder().encode
_DECODE: Final = {
    "json": msgspec.json.Decoder(ActRequest).decode,
    "msgpack": msgspec.msgpack.Decoder(ActRequest).decode,
}
_DECODE_BATCH: Final = {
    "json": msgspec.json.Decoder(BatchRequest).decode,
    "msgpack": msgspec.msgpack.Decoder(BatchRequest).decode,
}
_REPLAYED: Final = (b"idempotency-replayed", b"true")
_QUEUED: Final = (b"nacre-durability", b"queued")
_UNREPLICATED: Final = (b"nacre-durability", b"unreplicated")
_REMEMBERED: Final = 10_000
_HELD: Final = "held"
"""As what a decision counts that waits for a person; the worker counts what became of it."""


class _Pending(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A decision that was made and queued; `confirmed` resolves when Redis has it. `is_held`: whether it waits for
    a person, who `asked` when. `made`: the answer; None for one that was given before."""

    served: Served
    new: NewDecision
    response: bytes
    confirmed: asyncio.Future[Any] | None
    deadline: float
    is_replay: bool = False
    asked: NewApproval | None = None
    made: making.Made | None = None

    @property
    def is_held(self) -> bool:
        return self.asked is not None and self.asked.asked.is_held

    def count(self) -> None:
        """Counts it as what was answered."""
        assert self.made is not None, "what was answered before was counted then"
        self.served.tally.reasons[self.made.reason] += 1
        if self.made.fallback:
            self.served.tally.fallbacks[self.made.fallback] += 1


class _Reply(msgspec.Struct, frozen=True, gc=False):
    """What is sent."""

    response: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    status: int = 200


class _Asked(msgspec.Struct, frozen=True, eq=False, gc=False):
    """An item of a batch that was read. `question`: what its episode remembers, asked and under way."""

    serving: Serving
    request: ActRequest
    body: bytes
    started: float
    question: asyncio.Future[Any] | None


class ActEndpoint:
    """POST /v1/act and /v1/act:batch."""

    def __init__(
        self,
        store: PolicyStore,
        repository: DecisionRepository,
        approvals: ApprovalQueue,
        *,
        depth: int,
        batch: int,
    ) -> None:
        self._store = store
        self._repository = repository
        self._approvals = approvals
        self._depth = depth
        self._batch = batch
        # Decisions that Redis has not confirmed: a retry during an outage still gets the same answer.
        self._unconfirmed: OrderedDict[tuple[str, str], tuple[bytes, bytes]] = OrderedDict()

    async def act(self, http: HotRequest) -> Answer:
        started = time.perf_counter()
        if http.media == "json":
            bodies.check_depth(http.body, self._depth)
        request = bodies.decode(_DECODE[http.media], http.body)
        serving = self._store.serving(request.policy, http.principal)
        past = NO_HISTORY
        if serving.live.encoding.history is not None:
            question = self._ask(serving.live, request)
            past = await self._past(serving.live, request, question, started)
        pending = self._decide(serving, request, http.body, started, past, http)
        reply = await self._confirm(pending)
        pending.served.tally.answered(time.perf_counter() - started)
        return Answer(reply.status, reply.response, reply.headers)

    async def batch(self, http: HotRequest) -> Answer:
        """Answers every item on its own; order is kept."""
        if http.media == "json":
            bodies.check_depth(http.body, self._depth)
        batch = bodies.decode(_DECODE_BATCH[http.media], http.body)
        if len(batch.requests) > self._batch:
            detail = f"{len(batch.requests)} requests given, at most {self._batch} allowed; see /v1/limits"
            raise InvalidError("/requests", detail, field_code="too_many")
        # All questions first, then all records: each of the two is one round trip for the whole batch.
        asked = [self._batch_read(raw, batch.defaults, http) for raw in batch.requests]
        items = [await self._batch_decide(item, http) for item in asked]
        answers = [await self._batch_answer(item) for item in items]
        return Answer(200, b'{"responses":[' + b",".join(answers) + b"]}")

    def _batch_read(
        self, raw: msgspec.Raw, defaults: dict[str, Any], http: HotRequest
    ) -> _Asked | ServiceError:
        codec = msgspec.json if http.media == "json" else msgspec.msgpack
        try:
            body = bytes(raw)
            if defaults:
                own = bodies.decode(lambda b: codec.decode(b, type=dict[str, Any]), body)
                body = codec.encode({**defaults, **own})
            request = bodies.decode(_DECODE[http.media], body)
            serving = self._store.serving(request.policy, http.principal)
            has_history = serving.live.encoding.history is not None
            question = self._ask(serving.live, request) if has_history else None
            return _Asked(serving, request, body, time.perf_counter(), question)
        except ServiceError as error:
            return error

    async def _batch_decide(
        self, item: _Asked | ServiceError, http: HotRequest
    ) -> _Pending | ServiceError:
        if isinstance(item, ServiceError):
            return item
        serving, request, started = item.serving, item.request, item.started
        try:
            past = NO_HISTORY
            if serving.live.encoding.history is not None:
                past = await self._past(serving.live, request, item.question, started)
            return self._decide(serving, request, item.body, started, past, http, is_batch=True)
        except ServiceError as error:
            return error

    async def _batch_answer(self, item: _Pending | ServiceError) -> bytes:
        try:
            if isinstance(item, ServiceError):
                raise item
            reply = await self._confirm(item)
        except ServiceError as error:
            metrics.REFUSED.labels(error.code).inc()
            return _ENCODE(_BatchProblem(error.kind.status, error.problem(instance="/v1/act")))
        return b'{"status":%d,' % reply.status + reply.response[1:]

    # -- what went before ---------------------------------------------------------------------

    def _ask(self, served: Served, request: ActRequest) -> asyncio.Future[Any] | None:
        """Asks Redis what the episode remembers; None where nothing can have been before."""
        if request.episode is None or request.episode.step == 0:
            return None
        try:
            return self._repository.past(served.keys, request.episode.episode_id)
        except BackpressureError:
            return None  # the record is about to be refused as well, and the caller told why

    async def _past(
        self,
        served: Served,
        request: ActRequest,
        question: asyncio.Future[Any] | None,
        started: float,
    ) -> Past:
        """What the decision may know of its episode. Half of its time is for this at most."""
        place = request.episode
        if place is None or place.step == 0:
            return FRESH
        if question is None:
            return UNAVAILABLE
        left_s = started + _deadline_s(served, request) / 2 - time.perf_counter()
        await asyncio.wait((question,), timeout=max(0.0, left_s))
        if not question.done():
            question.cancel()
            return UNAVAILABLE
        try:
            reply = question.result()
        except LinkReplyError:
            return UNAVAILABLE
        return past_of(reply, place.step, served.feature_schema)

    # -- one decision -------------------------------------------------------------------------

    def _decide(
        self,
        serving: Serving,
        request: ActRequest,
        body: bytes,
        started: float,
        past: Past,
        http: HotRequest,
        is_batch: bool = False,
    ) -> _Pending:
        served = serving.live
        given = request.decision_id or (None if is_batch else http.idempotency_key)
        decision_id = given or new_id()
        digest = hashlib.blake2b(body, digest_size=16).digest() if given else b""
        if self._unconfirmed and given:
            known = self._unconfirmed.get((served.config.policy, decision_id))
            if known is not None:
                return self._known(served, decision_id, digest, known)
        deadline = started + _deadline_s(served, request)
        made_ms = now_ms()
        due_ms = made_ms + int(served.config.reward.wait_s * 1000)
        made = making.answered(serving, request, decision_id, past, deadline, due_ms)
        took_us = int((time.perf_counter() - started) * 1e6)
        record = DecisionRecord(
            RECORD_FORMAT,
            decision_id,
            "decision",
            made_ms,
            due_ms,
            http.media,
            served.encoding.catalog_revision,
            body,
            made.response,
            past.carry,
            made.value,
            took_us,
        )
        new, asked = making.stored(served, request, past, digest, record, made.taken), None
        if made.proposal is not None:
            asked = making.question(served, request, past, made, new, record, http.principal.name)
        confirmed = self._record(served, new, asked)
        pending = _Pending(served, new, made.response, confirmed, deadline, asked=asked, made=made)
        if not pending.is_held:  # what it becomes is known later
            pending.count()
        return pending

    def _record(
        self, served: Served, new: NewDecision, asked: NewApproval | None
    ) -> asyncio.Future[Any] | None:
        try:
            if asked is not None:
                return self._approvals.ask(served.keys, asked)
            if new.digest and _holds(served):
                # The caller may have sent it before, to a version that asked a person about it.
                approval_id = approval_id_of(new.decision_id)
                return self._approvals.record(served.keys, new, approval_id)
            confirmed = self._repository.record(served.keys, new)
        except BackpressureError as error:
            raise ServiceError(
                "Overloaded", "the log cannot keep up; slow down and retry"
            ) from error
        if served.config.durability == "async":
            confirmed.add_done_callback(_count_loss)
            return None
        return confirmed

    def _known(
        self, served: Served, decision_id: str, digest: bytes, known: tuple[bytes, bytes]
    ) -> _Pending:
        if known[0] != digest:
            raise _mismatch()
        new = NewDecision(decision_id, digest, b"", "decision", 0, True, 0)
        return _Pending(served, new, known[1], None, 0.0, is_replay=True)

    async def _confirm(self, pending: _Pending) -> _Reply:
        """The response once Redis has the record, and headers that say what is special about it."""
        if pending.confirmed is None:
            return _Reply(pending.response, (_REPLAYED,) if pending.is_replay else ())
        left_s = pending.deadline - time.perf_counter()
        if not pending.confirmed.done() and left_s < self._store.confirm_timeout_s:
            await asyncio.wait((pending.confirmed,), timeout=max(0.0, left_s))
            if not pending.confirmed.done():
                pending.confirmed.add_done_callback(_count_loss)
                return self._unsure(pending, _QUEUED)
        reply = await confirmed(pending.confirmed)
        if reply is UNCONFIRMED:
            return self._unsure(pending, SPOOLED)
        if isinstance(reply, list) and reply[0] == b"held":
            return self._waits(pending, *reply[1:])
        if reply == b"full":
            metrics.APPROVALS.labels(pending.served.config.policy, "full").inc()
            if pending.is_held:
                pending.count()
        elif reply != b"new":
            return _Reply(self._not_new(pending, reply), (_REPLAYED,))
        if pending.served.config.durability == "replicated":
            timeout_ms = int(self._store.confirm_timeout_s * 500)
            if not await self._repository.wait_for_replica(timeout_ms):
                return _Reply(pending.response, (_UNREPLICATED,))
        return _Reply(pending.response)

    def _waits(self, pending: _Pending, digest: bytes, due_ms: bytes, is_new: int) -> _Reply:
        """The answer to who must wait for a person. Counted once, however often it is asked for."""
        if digest != pending.new.digest:
            raise _mismatch()
        if is_new:
            pending.served.tally.reasons[_HELD] += 1
        else:
            pending.served.tally.replayed += 1
        return _held(pending, int(due_ms))

    def _unsure(self, pending: _Pending, header: tuple[bytes, bytes]) -> _Reply:
        """The answer while Redis has not said that it has the record."""
        if pending.is_held and pending.asked is not None:
            pending.served.tally.reasons[_HELD] += 1
            return _held(pending, pending.asked.asked.due_ms, (header,))
        self._remember(pending)
        return _Reply(pending.response, (header,))

    def _not_new(self, pending: _Pending, reply: list[bytes]) -> bytes:
        """The stored answer for a decision id that Redis knew before."""
        match reply:
            case [b"same", digest, record]:
                if digest != pending.new.digest:
                    raise _mismatch()
                pending.served.tally.replayed += 1
                return decode_record(record).response
            case [b"sealed"]:
                raise ServiceError("EpisodeSealed", "the episode was sealed; start another")
            case _:
                detail = (
                    "this step of the episode already has a decision; number steps 0, 1, 2, ..."
                )
                raise ServiceError("StepTaken", detail)

    def _remember(self, pending: _Pending) -> None:
        metrics.SPOOLED.labels("decision").inc()
        key = (pending.served.config.policy, pending.new.decision_id)
        self._unconfirmed[key] = (pending.new.digest, pending.response)
        if len(self._unconfirmed) > _REMEMBERED:
            self._unconfirmed.popitem(last=False)


def _deadline_s(served: Served, request: ActRequest) -> float:
    return (request.deadline_ms or served.config.deadline_ms) / 1000


def _holds(served: Served) -> bool:
    rule = served.config.approval
    return rule is not None and rule.is_about_decisions and rule.otherwise == "hold"


def _held(pending: _Pending, due_ms: int, headers: tuple[tuple[bytes, bytes], ...] = ()) -> _Reply:
    """The answer to who must wait for a person."""
    held, address = held_answer(pending.served.config.policy, pending.new.decision_id, due_ms)
    location = (b"location", address.encode())
    return _Reply(_ENCODE(held), (location, *headers), status=202)


class _BatchProblem(msgspec.Struct, frozen=True):
    status: int
    problem: Problem


def _count_loss(future: asyncio.Future[Any]) -> None:
    """For records that nobody waits for any more: one that Redis refuses is lost."""
    if not future.cancelled() and future.exception() is not None:
        metrics.LOST.labels("refused").inc()


def _mismatch() -> ServiceError:
    detail = "this decision_id was used with another body; repeat the same body or use a new id"
    return InvalidError("/decision_id", detail, "IdempotencyMismatch", "mismatch")
