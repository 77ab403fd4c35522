"""What is archived of each event of the log. No Redis, no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from service.decisions.records import DecisionRecord, decode_record
from service.shadow.schemas import Shadow, ShadowRequest


class StreamId(NamedTuple):
    """The id of one event: when Redis took it in (Unix ms), and its number within that ms."""

    ms: int
    number: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> StreamId:
        """From `1700000000000-3`.

        Raises:
            ValueError: it is no stream id.
        """
        ms, _, number = text.partition("-")
        return cls(int(ms), int(number))


START: Final = StreamId(0, 0)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a policy's log. `body` is exactly what was logged, and all that is needed to write
    it again; the last four repeat parts of it for queries, and are None where they do not apply.

    `action_id`: None for a continuous action too. `propensity`: the probability with which the action was
    chosen, by whoever chose it, or the density of a continuous one.
    """

    stream_id: StreamId
    type: str
    decision_id: str
    body: bytes
    model_version: str | None = None
    action_id: str | None = None
    propensity: float | None = None
    reason: str | None = None

    @property
    def at_ms(self) -> int:
        """When it happened, by the clock of Redis."""
        return self.stream_id.ms


class _Action(msgspec.Struct, frozen=True, gc=False):
    """A continuous action has no id."""

    id: str | None = None


class _Answer(msgspec.Struct, frozen=True, gc=False):
    """The columns inside the answer of /act."""

    model_version: str
    action: _Action
    propensity: float | None
    reason: str


class _ShadowAnswer(msgspec.Struct, frozen=True, gc=False):
    """The columns inside a ShadowResponse."""

    shadow: Shadow


_answer = msgspec.json.Decoder(_Answer).decode
_shadow_answer = msgspec.json.Decoder(_ShadowAnswer).decode
_SHADOW_REQUEST: Final = {
    "json": msgspec.json.Decoder(ShadowRequest).decode,
    "msgpack": msgspec.msgpack.Decoder(ShadowRequest).decode,
}


def event_of(stream_id: bytes, fields: Mapping[bytes, bytes]) -> Event:
    """One entry of the log. A decision that cannot be read is archived all the same."""
    at, body = StreamId.parse(stream_id.decode()), fields[b"b"]
    kind, decision_id = fields[b"t"].decode(), fields[b"d"].decode()
    if kind not in ("decision", "shadow"):
        return Event(at, kind, decision_id, body)
    try:
        record = decode_record(body)
        columns = _shadow(record) if kind == "shadow" else _decision(record)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Event(at, kind, decision_id, body)
    return Event(at, kind, decision_id, body, *columns)


_Columns = tuple[str, str | None, float | None, str | None]


def _decision(record: DecisionRecord) -> _Columns:
    answer = _answer(record.response)
    return answer.model_version, answer.action.id, answer.propensity, answer.reason


def _shadow(record: DecisionRecord) -> _Columns:
    request = _SHADOW_REQUEST[record.media](record.request)
    ours = _shadow_answer(record.response).shadow
    return ours.model_version, request.action_id, request.propensity, None
