"""Everything that the service refuses, and the one table that turns it into HTTP.

ServiceError(code, detail, errors)       a request cannot be served; `code` is a key of STATUS below
└── InvalidError                         an input is wrong; names the field by JSON pointer

The body is RFC 9457 problem+json. The rejected input is never echoed: a NaN in an echoed error would
turn a 422 into a 500, and a secret in a body would reach a log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec


class Kind(NamedTuple):
    """How one error code appears on the wire."""

    status: int
    title: str
    retryable: bool = False


KINDS: Final[dict[str, Kind]] = {
    "InvalidRequest": Kind(422, "The request is not valid"),
    "MalformedBody": Kind(400, "The body cannot be parsed"),
    "UnknownField": Kind(422, "The request has an unknown field"),
    "ActionSetEmpty": Kind(422, "No eligible action"),
    "UnknownAction": Kind(422, "An action is not in the catalog"),
    "DuplicateAction": Kind(422, "An action id appears twice"),
    "TooManyActions": Kind(422, "The action set is larger than the policy allows"),
    "IdempotencyMismatch": Kind(422, "The id was used before with another body"),
    "RewardConflict": Kind(422, "The reward id was used before with another value"),
    "UnknownReward": Kind(422, "There is no such reward to amend or retract"),
    "OutOfRange": Kind(422, "A reward is outside the range that the policy declares"),
    "ActionNotShown": Kind(422, "The action was not among those of the decision"),
    "InvalidPolicy": Kind(422, "The policy cannot work"),
    "Unauthenticated": Kind(401, "An API key is needed"),
    "Forbidden": Kind(403, "The API key does not allow this"),
    "OwnRequest": Kind(403, "Nobody approves what they asked for"),
    "NotFound": Kind(404, "There is no such thing"),
    "MethodNotAllowed": Kind(405, "The method is not allowed here"),
    "RequestTimeout": Kind(408, "The body did not arrive in time", retryable=True),
    "Contradiction": Kind(409, "The request contradicts what is logged"),
    "EpisodeSealed": Kind(409, "The episode has ended"),
    "StepTaken": Kind(409, "The step of the episode belongs to another decision"),
    "JobRunning": Kind(409, "A learn job is running already"),
    "RolloutRunning": Kind(409, "A rollout is under way already"),
    "NoRollout": Kind(409, "No rollout is under way"),
    "RolloutHeld": Kind(409, "The rollout cannot move on now"),
    "ApprovalNeeded": Kind(409, "The promotion needs an approval"),
    "GateClosed": Kind(403, "The gate is closed"),
    "NotYet": Kind(425, "It is too early", retryable=True),
    "PolicyChange": Kind(409, "The change would break what is stored"),
    "ApprovalDecided": Kind(409, "The approval was decided before"),
    "ApprovalExpired": Kind(409, "The approval came too late"),
    "ApprovalVoid": Kind(409, "What was to be approved has changed"),
    "PayloadSizeExceeded": Kind(413, "The body is too large"),
    "PayloadTooDeep": Kind(413, "The body is nested too deeply"),
    "UnsupportedMediaType": Kind(415, "The content type is not supported"),
    "TooManyRequests": Kind(429, "Too many requests", retryable=True),
    "Overloaded": Kind(503, "Too much is waiting for the log", retryable=True),
    "RedisUnavailable": Kind(503, "Redis does not answer", retryable=True),
    "RedisFull": Kind(503, "Redis has no memory left", retryable=True),
    "NotReady": Kind(503, "No policy can decide yet", retryable=True),
    "InternalError": Kind(500, "Something went wrong on our side", retryable=True),
}
"""Azure Personalizer's code names are kept where the meaning is equal."""

RETRY_AFTER_S: Final = 1


class FieldError(msgspec.Struct, frozen=True):
    """One field: where, a stable code, and what to do."""

    pointer: str
    code: str
    detail: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every error answer (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    detail: str = ""
    instance: str = ""
    errors: tuple[FieldError, ...] = ()
    retryable: bool
    request_id: str = ""


class ServiceError(Exception):
    """A request cannot be served; `code` is a key of KINDS."""

    def __init__(self, code: str, detail: str, errors: Sequence[FieldError] = ()) -> None:
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        super().__init__(f"{code}: {detail}")

    @property
    def kind(self) -> Kind:
        return KINDS[self.code]

    def problem(self, *, instance: str = "", request_id: str = "") -> Problem:
        kind = self.kind
        return Problem(
            type=f"urn:nacre:problem:{self.code}",
            title=kind.title,
            status=kind.status,
            code=self.code,
            detail=self.detail,
            instance=instance,
            errors=self.errors,
            retryable=kind.retryable,
            request_id=request_id,
        )


class InvalidError(ServiceError):
    """One field of the input is wrong."""

    def __init__(
        self, pointer: str, detail: str, code: str = "InvalidRequest", field_code: str = "invalid"
    ) -> None:
        super().__init__(code, detail, (FieldError(pointer, field_code, detail),))


_ENCODER = msgspec.json.Encoder()


def problem_response(
    error: ServiceError, *, instance: str = "", request_id: str = ""
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of an error answer."""
    body = _ENCODER.encode(error.problem(instance=instance, request_id=request_id))
    headers = [(b"content-type", b"application/problem+json")]
    if error.kind.status in (429, 503):
        headers.append((b"retry-after", b"%d" % RETRY_AFTER_S))
    if error.kind.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return error.kind.status, headers, body
