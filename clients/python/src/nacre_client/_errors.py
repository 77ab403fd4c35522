"""Everything that the client raises on purpose.

NacreError
├── InputError                 refused here, before anything was sent
├── ConnectFailedError         no connection, or it broke before an answer came
├── DeadlineExceededError      no answer within the time allowed
├── HeldError                  the decision waits for a person
└── APIError                   the service answered, and the answer is a refusal
    ├── BadRequestError        400
    ├── AuthenticationError    401
    ├── PermissionDeniedError  403
    ├── NotFoundError          404
    ├── ConflictError          409
    ├── TooLargeError          413
    ├── InvalidRequestError    422
    ├── RateLimitedError       429
    └── ServerError            500 and above
"""

from __future__ import annotations

import http
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._models import Held

# What a repeat with the same idempotency key can cure, unless the service says otherwise. 409 is not
# among them: the service contradicts the request, and will contradict it again.
RETRYABLE_STATUSES = frozenset({408, 429, 502, 503, 504})
LONGEST_RETRY_AFTER_S = 60.0
LONGEST_QUOTE_CHARS = 200


class NacreError(Exception):
    """Root of the tree above."""


class InputError(NacreError, ValueError):
    """Refused here, before anything was sent: the service could only have said no."""


class ConnectFailedError(NacreError):
    """The service could not be reached, or the connection broke before an answer came."""


class DeadlineExceededError(NacreError):
    """No answer came within the time allowed for the call, all attempts together."""


class HeldError(NacreError):
    """The decision waits for a person. `client.wait(error.held)` waits too, and gets it."""

    def __init__(self, held: Held) -> None:
        super().__init__(held)
        self.held = held

    def __str__(self) -> str:
        held = self.held
        return (
            f"decision {held.decision_id} waits for a person until {held.deadline} as approval "
            f"{held.approval_id}; call client.wait(error.held)"
        )


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One place in a request that was refused: a JSON pointer, a stable code, and words."""

    pointer: str
    code: str
    detail: str

    def __str__(self) -> str:
        words = self.detail or self.code
        return f"{self.pointer}: {words}" if self.pointer else words


@dataclass(frozen=True, slots=True)
class ProblemItem:
    """A refusal as the service words it (RFC 9457): one item of a batch, or the body of an `APIError`.

    `status`: HTTP status. `code`: stable name to branch on. `errors`: every place that was refused.
    `retryable`: whether the same request may succeed later. `request_id`: quote it when you ask for help.
    """

    status: int
    code: str = ""
    title: str = ""
    detail: str = ""
    type: str = ""
    instance: str = ""
    errors: tuple[FieldProblem, ...] = ()
    retryable: bool = False
    request_id: str = ""

    @classmethod
    def from_wire(cls, body: Mapping[str, Any], status: int) -> ProblemItem:
        """Reads a problem body; whatever is missing gets what the HTTP status implies."""
        texts = {
            name: str(body[name])
            for name in ("code", "title", "detail", "type", "instance", "request_id")
            if body.get(name) is not None
        }
        texts.setdefault("title", _phrase(status))
        retryable = body.get("retryable")
        return cls(
            status=status,
            errors=_field_problems(body.get("errors")),
            retryable=retryable if isinstance(retryable, bool) else status in RETRYABLE_STATUSES,
            **texts,
        )

    def __str__(self) -> str:
        parts = [": ".join(filter(None, (self.code or self.title, self.detail)))]
        parts += map(str, self.errors)
        if self.request_id:
            parts.append(f"request id {self.request_id}")
        return f"{self.status} " + "; ".join(parts)


class APIError(NacreError):
    """The service answered with a refusal. `retry_after_s`: the pause it asked for, capped at 60."""

    def __init__(self, problem: ProblemItem, retry_after_s: float | None = None) -> None:
        super().__init__(problem, retry_after_s)
        self.problem = problem
        self.retry_after_s = retry_after_s
        self.status = problem.status
        self.code = problem.code
        self.title = problem.title
        self.detail = problem.detail
        self.errors = problem.errors
        self.retryable = problem.retryable
        self.request_id = problem.request_id

    def __str__(self) -> str:
        return str(self.problem)


class BadRequestError(APIError):
    """400: the request is not one that the service can read."""


class AuthenticationError(APIError):
    """401: the API key is missing or unknown."""


class PermissionDeniedError(APIError):
    """403: the API key may not do this."""


class NotFoundError(APIError):
    """404: no such policy, decision, episode or job, or it belongs to somebody else."""


class ConflictError(APIError):
    """409: what the service already holds contradicts the request."""


class TooLargeError(APIError):
    """413: the request is over a limit of `Client.limits`."""


class InvalidRequestError(APIError):
    """422: the request was read and is wrong; `errors` says where."""


class RateLimitedError(APIError):
    """429: too many requests; `retry_after_s` says how long to stay away."""


class ServerError(APIError):
    """500 and above: the service failed, or is not ready."""


_BY_STATUS: dict[int, type[APIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: TooLargeError,
    422: InvalidRequestError,
    429: RateLimitedError,
}

# The failures that a local fallback may answer: the service is away, too slow, broken or overloaded.
UNAVAILABLE = (ConnectFailedError, DeadlineExceededError, ServerError, RateLimitedError)


def error_from(status: int, headers: Mapping[str, str], content: bytes) -> APIError:
    """The error that an HTTP answer stands for. `headers` finds names whatever their case."""
    body = _problem_body(content)
    if not body.get("request_id"):
        body["request_id"] = headers.get("x-request-id")
    return api_error(
        ProblemItem.from_wire(body, status), retry_after_s(headers.get("retry-after"), time.time())
    )


def api_error(problem: ProblemItem, pause_s: float | None = None) -> APIError:
    """The error class of a problem's status; a status without a class of its own is an `APIError`."""
    kind = ServerError if problem.status >= 500 else _BY_STATUS.get(problem.status, APIError)
    return kind(problem, pause_s)


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """Seconds in [0, 60] that a Retry-After header asks for (number or HTTP date), or None.

    `now_s`: Unix time, which only the date form needs.
    """
    if not value:
        return None
    try:
        pause_s = float(value)
    except ValueError:
        pause_s = _seconds_until(value, now_s)
    # A NaN compares false with everything, so it ends as "no pause asked for".
    return min(max(pause_s, 0.0), LONGEST_RETRY_AFTER_S) if pause_s == pause_s else None


def _seconds_until(http_date: str, now_s: float) -> float:
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(http_date).timestamp() - now_s
    except ValueError:
        return float("nan")


def _problem_body(content: bytes) -> dict[str, Any]:
    """The JSON object in `content`; anything else (a proxy's page) is quoted as the detail."""
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    if isinstance(body, dict):
        return body
    return {"detail": content[:LONGEST_QUOTE_CHARS].decode("utf-8", "replace").strip()}


def _field_problems(items: Any) -> tuple[FieldProblem, ...]:
    if not isinstance(items, list):
        return ()
    return tuple(
        FieldProblem(
            *(str(item.get(name) or "") for name in ("pointer", "code", "detail")),
        )
        for item in items
        if isinstance(item, dict)
    )


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown status"
