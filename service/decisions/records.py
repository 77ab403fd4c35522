"""What is kept of a decision: the request as it came and the answer as it went.

Together they hold all that evaluation and bit-exact replay need, and keeping them as bytes costs the
hot path nothing. A record is msgpack of a fixed array, the first element being the format version.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from service.decisions.schemas import ActRequest, ActResponse, BoxActResponse

Media = Literal["json", "msgpack"]
RECORD_FORMAT: Final = 2


class DecisionRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One decision. Times are Unix milliseconds; `catalog` is the revision that ids refer to. `carry`: the
    history that the decision was made with, as bytes; empty before anything was seen. `value`: what the policy
    expected of the action that was taken; None where it was not asked. `took_us`: microseconds from the request
    to this record.
    """

    format: int
    decision_id: str
    kind: Literal["decision", "shadow"]
    made_ms: int
    deadline_ms: int
    media: Media
    catalog: int
    request: bytes
    response: bytes
    carry: bytes = b""
    value: float | None = None
    took_us: int = 0


encode_record = msgspec.msgpack.Encoder().encode
decode_record = msgspec.msgpack.Decoder(DecisionRecord).decode

_REQUEST = {
    "json": msgspec.json.Decoder(ActRequest).decode,
    "msgpack": msgspec.msgpack.Decoder(ActRequest).decode,
}
decode_response = msgspec.json.Decoder(ActResponse).decode
decode_box_response = msgspec.json.Decoder(BoxActResponse).decode


def act_request(record: DecisionRecord) -> ActRequest:
    """The request of a recorded decision, decoded by the code that decoded it then."""
    return _REQUEST[record.media](record.request)
