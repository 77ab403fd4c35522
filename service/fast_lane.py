"""The short way through HTTP for the requests that matter: whole, plain, one at a time.

    bytes -> FastLane -> a hot path that arrived in one piece -> FrontDoor.respond -> one write
                      -> anything else: uvicorn's own way     -> FrontDoor.__call__

uvicorn builds an ASGI scope, an event and two messages for each request and writes head and body apart.
A request for a hot endpoint needs none of that, if it lies whole in the bytes that one read gave and
nothing else is going on on its connection. Whatever is not that simple (a body in pieces, pipelining,
`Expect`, an upgrade, another method, a query string) goes uvicorn's way, so it is uvicorn that knows about
slow bodies and half-open connections, and this file need not.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.front_door import Call, FrontDoor, Route, read_head
from service.hot import Answer

_STATUS: Final = {
    status.value: b"HTTP/1.1 %d %s\r\ncontent-length: " % (status, status.phrase.encode())
    for status in HTTPStatus
}


class _Exchange:
    """What uvicorn wants to know of the request in progress; one object serves a whole connection."""

    __slots__ = ("disconnected", "keep_alive", "message_event", "response_complete")

    def __init__(self) -> None:
        self.disconnected = False
        self.keep_alive = True
        self.response_complete = True
        self.message_event = asyncio.Event()  # uvicorn sets it; nobody waits here


class FastLane(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a short cut."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        assert isinstance(self.app, FrontDoor)
        self._door = self.app
        self._exchange = _Exchange()
        self.cycle: Any = self._exchange  # so it is never None
        self._route: Route | None = None
        self._path = ""
        self._parts: list[bytes] = []

    # -- parsing ------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._route is not None:
            self._leave()

    def on_message_begin(self) -> None:
        # The scope is built in `_enter_asgi`, for those who need one.
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        self._path = self.url.decode("latin-1")
        self._route = self._door.route(self._path) if self._is_plain() else None
        self._parts.clear()
        if self._route is None:
            self._enter_asgi()

    def _is_plain(self) -> bool:
        """Whether this is the only request in progress, and an ordinary one."""
        return (
            self.cycle.response_complete
            and self.parser.get_method() == b"POST"
            and not self.expect_100_continue
            and not self.parser.should_upgrade()
        )

    def on_body(self, body: bytes) -> None:
        if self._route is None:
            super().on_body(body)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        if self._route is None:
            super().on_message_complete()
        else:
            self._start(self._route)

    def _start(self, route: Route) -> None:
        self._route = None
        exchange = self.cycle = self._exchange
        exchange.keep_alive = (
            self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        )
        exchange.response_complete = False
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        call = Call(route, "POST", self._path, read_head(self.headers), body)
        task = self.loop.create_task(self._serve(call))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # -- leaving the lane ---------------------------------------------------------------------

    def _leave(self) -> None:
        """The bytes ended before the request did: from here on it is uvicorn's."""
        self._route = None
        if self.transport.is_closing():  # the bytes were no HTTP, and were answered so
            return
        self._enter_asgi()
        for part in self._parts:
            super().on_body(part)

    def _enter_asgi(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        super().on_headers_complete()

    # -- answering ----------------------------------------------------------------------------

    async def _serve(self, call: Call) -> None:
        try:
            answer = await self._door.respond(call)
        except BaseException:
            self.transport.abort()  # only a shutdown cancels; the client retries elsewhere
            raise
        if self.flow.write_paused:
            await self.flow.drain()
        self._finish(answer)

    def _finish(self, answer: Answer) -> None:
        exchange, transport = self._exchange, self.transport
        exchange.response_complete = True
        if transport.is_closing():
            return
        transport.write(_response(answer, exchange.keep_alive))
        if not exchange.keep_alive:
            transport.close()
        self.on_response_complete()


def _response(answer: Answer, keep_alive: bool) -> bytes:
    """The whole response, in the bytes that uvicorn would send."""
    parts = [_STATUS[answer.status], b"%d\r\n" % len(answer.body)]
    for name, value in answer.headers:
        parts += (name, b": ", value, b"\r\n")
    if not keep_alive:
        parts.append(b"connection: close\r\n")
    parts += (b"\r\n", answer.body)
    return b"".join(parts)
