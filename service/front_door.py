"""The front door: answers the hot endpoints before FastAPI's router sees them.

    FastLane -> respond ┐
                        ├-> /act, /act:batch, /observe, /shadow     msgspec, one dictionary look-up
    uvicorn -> __call__ ┴-> FastAPI                                  everything else

FastAPI's routing and validation cost 50 to 100 us a request in an earlier study, this costs 4. The same
`respond` serves a request that came in one piece (`service.fast_lane`) and one that came in any other way.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec
import structlog

from service import metrics
from service.bodies import DisconnectedError, read_body, too_large
from service.errors import ServiceError, problem_response
from service.hot import Answer, HotRequest
from service.security import Keyring, Scope

log = structlog.get_logger(__name__)
ASGIMessage = MutableMapping[str, Any]
Send = Callable[[ASGIMessage], Awaitable[None]]
Receive = Callable[[], Awaitable[ASGIMessage]]
App = Callable[[Any, Receive, Send], Awaitable[None]]
Handler = Callable[[HotRequest], Awaitable[Answer]]

_JSON: Final = (b"content-type", b"application/json")
_MSGPACK: Final = (b"content-type", b"application/msgpack")
_MEDIA: Final[dict[bytes, Literal["json", "msgpack"]]] = {
    b"": "json",
    b"application/json": "json",
    b"application/msgpack": "msgpack",
    b"application/x-msgpack": "msgpack",
}


class Route(NamedTuple):
    """A hot endpoint and the scope that it needs."""

    handler: Handler
    scope: Scope


class Backend(Protocol):
    """What the front door needs of the service; there once the lifespan has started."""

    @property
    def keyring(self) -> Keyring: ...

    @property
    def routes(self) -> dict[str, Route]: ...


class Head(NamedTuple):
    """The request headers that matter here."""

    content_type: bytes
    accept: bytes
    key: bytes | None
    idempotency_key: str | None
    request_id: str
    length: int


class Call(msgspec.Struct, frozen=True, gc=False):
    """A request for a hot endpoint. `body`: all of it, or where it is still to be read from."""

    route: Route
    method: str
    path: str
    head: Head
    body: bytes | Receive


class FrontDoor:
    """The ASGI application that uvicorn runs.

    `backend`: set while the lifespan runs. `slow_s`: a body that takes longer is refused with 408.
    `in_flight`: requests at once, more get 503.
    """

    def __init__(self, app: App, *, max_body: int, slow_s: float, in_flight: int = 20_000) -> None:
        self.fastapi = app
        self.backend: Backend | None = None
        self._max_body = max_body
        self._slow_s = slow_s
        self._in_flight = in_flight
        self._reading: dict[asyncio.Task[Any], float] = {}
        self._active = 0
        self._janitor: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        route = self.route(scope["path"]) if scope["type"] == "http" else None
        if route is None:
            await self.fastapi(scope, receive, send)
            return
        head = read_head(scope["headers"])
        call = Call(route, scope["method"], scope["path"], head, receive)
        with suppress(DisconnectedError):
            await _send(send, await self.respond(call))

    def route(self, path: str) -> Route | None:
        """The hot endpoint at `path`."""
        return self.backend.routes.get(path) if self.backend is not None else None

    async def respond(self, call: Call) -> Answer:
        """The answer, whose headers are complete; every refusal and every defect of ours is one, too.

        Raises:
            DisconnectedError: nobody is left to be answered.
        """
        self._active += 1
        try:
            return await self._answer(call)
        except ServiceError as error:
            return self._problem(error, call)
        except DisconnectedError:
            raise
        except Exception:
            # The last line of defence: a defect of ours is a 500 with an id, never a dead process.
            log.exception("request_failed", path=call.path, request_id=call.head.request_id)
            defect = ServiceError("InternalError", "it is logged under the request id")
            return self._problem(defect, call)
        finally:
            self._active -= 1

    async def _answer(self, call: Call) -> Answer:
        head, backend = call.head, self.backend
        if call.method != "POST":
            raise ServiceError("MethodNotAllowed", "use POST")
        if self._active > self._in_flight or backend is None:
            raise ServiceError("Overloaded", "too many requests are in flight; slow down and retry")
        principal = backend.keyring.authorize(head.key, call.route.scope)
        media = _MEDIA.get(head.content_type)
        if media is None:
            raise ServiceError(
                "UnsupportedMediaType", "send application/json or application/msgpack"
            )
        if head.length > self._max_body:
            raise too_large(self._max_body)
        body = call.body if isinstance(call.body, bytes) else await self._body(call.body)
        if len(body) > self._max_body:
            raise too_large(self._max_body)
        answer = await call.route.handler(HotRequest(body, media, principal, head.idempotency_key))
        return _in_media(answer, head.accept)

    async def _body(self, receive: Receive) -> bytes:
        """The body, unless it trickles. One timer watches all requests: a timer each would cost more
        than reading the body does."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        # The loop is given because finding it costs a system call.
        task = asyncio.current_task(self._loop)
        assert task is not None
        self._reading[task] = time.monotonic() + self._slow_s
        if self._janitor is None:
            self._janitor = self._loop.call_later(self._slow_s, self._cancel_slow)
        try:
            return await read_body(receive, self._max_body)
        except asyncio.CancelledError:
            if self._reading[task] > time.monotonic():
                raise
            task.uncancel()
            raise ServiceError(
                "RequestTimeout", f"the body took longer than {self._slow_s:g} s"
            ) from None
        finally:
            del self._reading[task]

    def _cancel_slow(self) -> None:
        self._janitor = None
        now = time.monotonic()
        for task, deadline in list(self._reading.items()):
            if deadline <= now:
                task.cancel()
        if self._reading and self._loop is not None:
            pause = max(0.05, min(self._reading.values()) - now)
            self._janitor = self._loop.call_later(pause, self._cancel_slow)

    def _problem(self, error: ServiceError, call: Call) -> Answer:
        metrics.REFUSED.labels(error.code).inc()
        request_id = call.head.request_id or secrets.token_hex(8)
        if error.kind.status >= 500:
            log.warning("request_refused", path=call.path, code=error.code, request_id=request_id)
        status, headers, body = problem_response(error, instance=call.path, request_id=request_id)
        if status == 405:
            headers.append((b"allow", b"POST"))
        return Answer(status, body, tuple(headers))


def read_head(headers: list[tuple[bytes, bytes]]) -> Head:
    """One pass over the ASGI headers, whose names are lower case."""
    content_type = accept = b""
    key = idempotency_key = None
    request_id, length = "", 0
    for name, value in headers:
        if name == b"content-type":
            content_type = value.partition(b";")[0].strip().lower()
        elif name == b"content-length":
            length = int(value) if value.isdigit() else 0
        elif name == b"authorization":
            key = value[7:].strip() if value[:7].lower() == b"bearer " else None
        elif name == b"x-api-key":
            key = value.strip()
        elif name == b"idempotency-key":
            idempotency_key = value.decode("latin-1")[:256] or None
        elif name == b"accept":
            accept = value
        elif name == b"x-request-id":
            request_id = value.decode("latin-1")[:128]
    return Head(content_type, accept, key, idempotency_key, request_id, length)


def _in_media(answer: Answer, accept: bytes) -> Answer:
    """The answer as JSON, or as msgpack where that is asked for."""
    if accept != b"application/msgpack":
        return Answer(answer.status, answer.body, (_JSON, *answer.headers))
    body = msgspec.msgpack.encode(msgspec.json.decode(answer.body))
    return Answer(answer.status, body, (_MSGPACK, *answer.headers))


async def _send(send: Send, answer: Answer) -> None:
    headers = [(b"content-length", b"%d" % len(answer.body)), *answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
