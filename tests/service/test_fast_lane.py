"""A hot request is answered alike, however its bytes arrive; whole ones take the short way."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from service.fast_lane import FastLane
from service.front_door import FrontDoor
from service.workers.api import server_config
from tests.support.api import settings_for
from tests.support.policies import bandit

ACT: dict[str, Any] = {
    "observation": {"vector": [0.5, -1]},
    "actions": ["a", "b", "c"],
    "excluded_actions": ["a", "c"],
}
BODY_TIMEOUT_S = 0.3


class Wire:
    """A raw connection to the server. `was_read`: set whenever the server reads something."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        was_read: asyncio.Event,
    ) -> None:
        self.reader, self.writer, self.was_read = reader, writer, was_read

    async def send(self, *pieces: bytes) -> None:
        """Each piece is a read of its own."""
        for piece in filter(None, pieces):
            self.was_read.clear()
            self.writer.write(piece)
            await asyncio.wait_for(self.was_read.wait(), 5)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)).decode()
        lines = head.split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(lines[0].split(" ")[1]), headers, body

    async def is_closed(self) -> bool:
        return await asyncio.wait_for(self.reader.read(1), 5) == b""


class Live:
    """The server, and how many hot requests went uvicorn's way."""

    def __init__(self, server: uvicorn.Server, port: int) -> None:
        self.server, self.port = server, port
        self.by_asgi = 0
        self.was_read = asyncio.Event()

    @asynccontextmanager
    async def wire(self) -> AsyncIterator[Wire]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Wire(reader, writer, self.was_read)
        finally:
            writer.close()


@pytest.fixture
async def live(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Live]:
    settings = settings_for(
        redis_url, tmp_path, body_timeout_s=BODY_TIMEOUT_S, max_body_bytes=20_000
    )
    server = uvicorn.Server(server_config(settings))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        one = Live(server, listening.getsockname()[1])
        _watch(one, monkeypatch)
        running = asyncio.create_task(server.serve(sockets=[listening]))
        async with one.wire() as wire:
            await wire.send(request(bandit(), "PUT", "/v1/policies/home"))
            assert (await wire.answer())[0] in (200, 201)
        yield one
        server.should_exit = True
        await running


def _watch(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, read = FrontDoor.__call__, FastLane.data_received

    async def counting(door: FrontDoor, scope: Any, receive: Any, send: Any) -> None:
        live.by_asgi += scope["type"] == "http" and door.route(scope["path"]) is not None
        await plain(door, scope, receive, send)

    def reading(lane: FastLane, data: bytes) -> None:
        read(lane, data)
        live.was_read.set()

    monkeypatch.setattr(FrontDoor, "__call__", counting)
    monkeypatch.setattr(FastLane, "data_received", reading)


def request(document: Any, method: str = "POST", path: str = "/v1/act", *headers: str) -> bytes:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    lines = [f"{method} {path} HTTP/1.1", "host: nacre", "content-type: application/json", *headers]
    if not any(line.startswith("transfer-encoding") for line in headers):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(document: Any) -> bytes:
    body = json.dumps(document).encode()
    chunks = [body[:10], body[10:]]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in chunks) + b"0\r\n\r\n"
    return request(framed, "POST", "/v1/act", "transfer-encoding: chunked")


def seen(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, list[str], Any]:
    """What must not depend on how the bytes arrived."""
    status, headers, body = answer
    told = json.loads(body)
    for field in ("decision_id", "reward_deadline", "request_id"):
        told.pop(field, None)
    names = [f"{name}: {value}" for name, value in headers.items() if name != "content-length"]
    return status, names, told


def splits(whole: bytes) -> Iterator[list[bytes]]:
    end = whole.index(b"\r\n\r\n") + 4
    for at in (1, 5, 20, end - 2, end, end + 1, len(whole) - 1):
        yield [whole[:at], whole[at:]]
    yield [whole[:end], whole[end : end + 7], whole[end + 7 :]]


REQUESTS = {
    "a decision": request(ACT),
    "a decision in chunks": chunked(ACT),
    "no JSON": request(b"{"),
    "a wrong field": request(ACT | {"colour": "red"}),
    "another media type": request(ACT, "POST", "/v1/act", "content-type: text/plain"),
    "a large body": request(ACT | {"metadata": {"x": "y" * 30_000}}),
    "an answer in msgpack": request(b"{", "POST", "/v1/act", "accept: application/msgpack"),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_the_answer_does_not_depend_on_how_the_bytes_arrive(live: Live, name: str) -> None:
    whole = REQUESTS[name]
    async with live.wire() as wire:
        await wire.send(whole)
        expected = seen(await wire.answer())
    taken = live.by_asgi

    for pieces in splits(whole):
        async with live.wire() as wire:
            await wire.send(*pieces)
            assert seen(await wire.answer()) == expected
    assert live.by_asgi > taken


async def test_a_whole_request_takes_the_short_way(live: Live) -> None:
    async with live.wire() as wire:
        for _ in range(5):
            await wire.send(request(ACT))
            status, headers, _ = await wire.answer()
            assert (status, headers["content-type"]) == (200, "application/json")
            assert "connection" not in headers
    assert live.by_asgi == 0


@pytest.mark.parametrize(
    "unusual",
    [
        request(ACT, "POST", "/v1/act?x=1"),
        request(ACT, "GET"),
        request(ACT, "POST", "/v1/act", "connection: upgrade", "upgrade: h2c"),
    ],
    ids=["a query", "another method", "an upgrade"],
)
async def test_an_unusual_request_goes_the_way_of_uvicorn(live: Live, unusual: bytes) -> None:
    async with live.wire() as wire:
        await wire.send(unusual)
        assert (await wire.answer())[0] in (200, 400, 405)
    assert live.by_asgi == 1


async def test_requests_sent_at_once_are_answered_in_order(live: Live) -> None:
    ids = [f"d{at}" for at in range(20)]
    async with live.wire() as wire:
        await wire.send(b"".join(request(ACT | {"decision_id": name}) for name in ids))
        answers = [await wire.answer() for _ in ids]
        assert [json.loads(body)["decision_id"] for _, _, body in answers] == ids
        await wire.send(request(ACT))
        assert (await wire.answer())[0] == 200


async def test_hot_and_other_requests_may_be_mixed_in_one_write(live: Live) -> None:
    other = request(b"", "GET", "/v1/policies")
    async with live.wire() as wire:
        await wire.send(request(ACT) + other + request(ACT) + other[:30], other[30:])
        bodies = [json.loads((await wire.answer())[2]) for _ in range(4)]
    assert ["decision_id" in one for one in bodies] == [True, False, True, False]


async def test_a_client_that_asks_whether_to_send_is_told_to(live: Live) -> None:
    whole = request(ACT, "POST", "/v1/act", "expect: 100-continue")
    end = whole.index(b"\r\n\r\n") + 4
    async with live.wire() as wire:
        await wire.send(whole[:end])
        assert await asyncio.wait_for(wire.reader.readuntil(b"\r\n\r\n"), 5) == (
            b"HTTP/1.1 100 Continue\r\n\r\n"
        )
        await wire.send(whole[end:])
        assert (await wire.answer())[0] == 200


@pytest.mark.parametrize(
    "last",
    [
        request(ACT, "POST", "/v1/act", "connection: close"),
        request(ACT).replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
    ids=["connection: close", "HTTP/1.0"],
)
async def test_a_connection_that_should_close_is_closed(live: Live, last: bytes) -> None:
    async with live.wire() as wire:
        await wire.send(last)
        status, headers, _ = await wire.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await wire.is_closed()


async def test_a_body_that_does_not_come_is_refused_with_408(live: Live) -> None:
    async with live.wire() as wire:
        await wire.send(request(ACT)[:-3])
        status, _, body = await wire.answer()
    assert (status, json.loads(body)["code"]) == (408, "RequestTimeout")


async def test_bytes_that_are_no_http_are_refused_and_harm_nobody(live: Live) -> None:
    half = request(ACT, "POST", "/v1/act", "transfer-encoding: chunked")
    head = half[: half.index(b"\r\n\r\n") + 4]
    for pieces in ([b"\x00\x01\r\n\r\n"], [head + b"zz\r\n"], [head + b"5\r\nabc", b"zz\r\n\r\n"]):
        async with live.wire() as wire:
            await wire.send(*pieces)
            assert (await wire.answer())[0] in (400, 408)
            assert await wire.is_closed()
    async with live.wire() as wire:
        await wire.send(request(ACT))
        assert (await wire.answer())[0] == 200


async def test_a_client_that_leaves_costs_nothing_but_its_answer(live: Live) -> None:
    for _ in range(20):
        async with live.wire() as wire:
            wire.writer.write(request(ACT))
            await wire.writer.drain()
            wire.writer.transport.abort()
    async with live.wire() as wire:
        await wire.send(request(ACT))
        assert (await wire.answer())[0] == 200


async def test_answers_wait_for_a_client_that_reads_slowly(live: Live) -> None:
    wide = ACT | {"metadata": {"x": "y" * 4_000}}
    async with live.wire() as wire:
        wire.writer.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, 4096
        )
        for at in range(300):
            wire.writer.write(request(wide | {"decision_id": f"slow-{at}"}))
        names = [json.loads((await wire.answer())[2])["decision_id"] for _ in range(300)]
    assert names == [f"slow-{at}" for at in range(300)]


async def test_a_request_in_flight_is_answered_before_the_server_ends(live: Live) -> None:
    async with live.wire() as wire:
        await wire.send(request(ACT))
        live.server.should_exit = True
        assert (await wire.answer())[0] == 200
        assert await wire.is_closed()


def test_the_server_speaks_through_the_fast_lane(tmp_path: Path) -> None:
    config = server_config(settings_for("redis://127.0.0.1:1", tmp_path))
    assert config.http is FastLane
