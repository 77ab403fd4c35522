"""/shadow: HTTP in, HTTP out. Recorded like a decision, so that rewards join it the same way."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from service import bodies
from service.clock import now_ms
from service.decisions.ids import new_id
from service.decisions.records import RECORD_FORMAT, DecisionRecord, decode_record, encode_record
from service.decisions.repository import DecisionRepository, NewDecision
from service.errors import InvalidError, ServiceError
from service.hot import SPOOLED, Answer, HotRequest, confirmed
from service.policies.store import PolicyStore
from service.redis_link import UNCONFIRMED, BackpressureError
from service.shadow import logic
from service.shadow.schemas import ShadowRequest

_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = {
    "json": msgspec.json.Decoder(ShadowRequest).decode,
    "msgpack": msgspec.msgpack.Decoder(ShadowRequest).decode,
}


class ShadowEndpoint:
    """POST /v1/shadow."""

    def __init__(self, store: PolicyStore, decisions: DecisionRepository, *, depth: int) -> None:
        self._store = store
        self._decisions = decisions
        self._depth = depth

    async def shadow(self, http: HotRequest) -> Answer:
        if http.media == "json":
            bodies.check_depth(http.body, self._depth)
        request = bodies.decode(_DECODE[http.media], http.body)
        served = self._store.served(request.policy, http.principal)
        given = request.decision_id or http.idempotency_key
        decision_id = given or new_id()
        made_ms = now_ms()
        due_ms = made_ms + int(served.config.reward.wait_s * 1000)
        response = _ENCODE(logic.judge(served, request, decision_id, due_ms))
        revision = served.encoding.catalog_revision
        record = DecisionRecord(
            RECORD_FORMAT,
            decision_id,
            "shadow",
            made_ms,
            due_ms,
            http.media,
            revision,
            http.body,
            response,
        )
        digest = hashlib.blake2b(http.body, digest_size=16).digest() if given else b""
        new = NewDecision(
            decision_id, digest, encode_record(record), "shadow", due_ms, True, made_ms
        )
        try:
            reply = await confirmed(self._decisions.record(served.keys, new))
        except BackpressureError as error:
            raise ServiceError(
                "Overloaded", "the log cannot keep up; slow down and retry"
            ) from error
        served.tally.reasons["shadow"] += 1
        if reply is UNCONFIRMED:
            return Answer(202, response, (SPOOLED,))
        if reply != b"new":
            return Answer(202, _repeated(digest, reply), ((b"idempotency-replayed", b"true"),))
        return Answer(202, response)


def _repeated(digest: bytes, reply: list[bytes]) -> bytes:
    if reply[1] != digest:
        detail = "this decision_id was used with another body; repeat the same body or use a new id"
        raise InvalidError("/decision_id", detail, "IdempotencyMismatch", "mismatch")
    return decode_record(reply[2]).response
