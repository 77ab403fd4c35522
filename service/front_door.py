"""The pure-ASGI front door: answers the hot endpoints before FastAPI's router sees them.

    uvicorn -> FrontDoor -> /act, /act:batch, /observe, /shadow     msgspec, one dictionary look-up
                         -> FastAPI                                  everything else

FastAPI's routing and validation cost 50 to 100 us a request in an earlier study, this costs 4.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec
import structlog

from service import metrics
from service.bodies import DisconnectedError, read_body
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
        if scope["type"] == "http":
            backend = self.backend
            route = backend.routes.get(scope["path"]) if backend is not None else None
            if backend is not None and route is not None:
                await self._hot(backend, route, scope, receive, send)
                return
        await self.fastapi(scope, receive, send)

    async def _hot(
        self, backend: Backend, route: Route, scope: Any, receive: Receive, send: Send
    ) -> None:
        head = read_head(scope["headers"])
        self._active += 1
        try:
            answer = await self._answer(backend, route, scope, head, receive)
        except ServiceError as error:
            answer = self._problem(error, scope["path"], head)
        except DisconnectedError:
            return
        except Exception:
            # The last line of defence: a defect of ours is a 500 with an id, never a dead process.
            log.exception("request_failed", path=scope["path"], request_id=head.request_id)
            answer = self._problem(
                ServiceError("InternalError", "it is logged under the request id"),
                scope["path"],
                head,
            )
        finally:
            self._active -= 1
        await _send(send, answer, head.accept)

    async def _answer(
        self, backend: Backend, route: Route, scope: Any, head: Head, receive: Receive
    ) -> Answer:
        if scope["method"] != "POST":
            raise ServiceError("MethodNotAllowed", "use POST")
        if self._active > self._in_flight:
            raise ServiceError("Overloaded", "too many requests are in flight; slow down and retry")
        principal = backend.keyring.authorize(head.key, route.scope)
        media = _MEDIA.get(head.content_type)
        if media is None:
            raise ServiceError(
                "UnsupportedMediaType", "send application/json or application/msgpack"
            )
        if head.length > self._max_body:
            raise ServiceError(
                "PayloadSizeExceeded",
                f"a body may have at most {self._max_body} bytes; see /v1/limits",
            )
        body = await self._body(receive)
        return await route.handler(HotRequest(body, media, principal, head.idempotency_key))

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

    def _problem(self, error: ServiceError, path: str, head: Head) -> Answer:
        metrics.REFUSED.labels(error.code).inc()
        request_id = head.request_id or secrets.token_hex(8)
        if error.kind.status >= 500:
            log.warning("request_refused", path=path, code=error.code, request_id=request_id)
        status, headers, body = problem_response(error, instance=path, request_id=request_id)
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


async def _send(send: Send, answer: Answer, accept: bytes) -> None:
    body, extra = answer.body, answer.headers
    if answer.status < 400:
        media = _JSON
        if accept == b"application/msgpack":
            media, body = _MSGPACK, msgspec.msgpack.encode(msgspec.json.decode(body))
        extra = (media, *extra)
    headers = [(b"content-length", b"%d" % len(body)), *extra]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
