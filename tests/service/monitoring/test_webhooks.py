"""What other systems are told: a real server on this machine receives it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httptools
import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr

from service.webhooks import Webhooks, delivering, signature


class Receiver:
    """An HTTP server that answers with the given statuses in turn, then always with 200."""

    def __init__(self, statuses: Sequence[int]) -> None:
        self._statuses = list(statuses)
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.port = 0
        self._arrived = asyncio.Event()

    async def wait_for(self, count: int) -> None:
        """Returns once that many requests have come."""
        async with asyncio.timeout(10):
            while len(self.bodies) < count:
                self._arrived.clear()
                await self._arrived.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = _Request()
        parser = httptools.HttpRequestParser(request)
        while data := await reader.read(65536):
            parser.feed_data(data)
            if request.is_whole:
                self.bodies.append(request.body)
                self.headers.append(request.headers)
                self._arrived.set()
                status = self._statuses.pop(0) if self._statuses else 200
                writer.write(b"HTTP/1.1 %d x\r\ncontent-length: 0\r\n\r\n" % status)
                request = _Request()
                parser = httptools.HttpRequestParser(request)
        writer.close()


class _Request:
    def __init__(self) -> None:
        self.body = b""
        self.headers: dict[str, str] = {}
        self.is_whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.is_whole = True


@asynccontextmanager
async def _receiving(*statuses: int) -> AsyncIterator[Receiver]:
    receiver = Receiver(statuses)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


def _sent(outcome: str) -> float:
    return REGISTRY.get_sample_value("nacre_webhooks_total", {"outcome": outcome}) or 0.0


async def test_an_event_is_a_cloud_event_about_the_policy() -> None:
    async with _receiving() as receiver:
        webhooks = Webhooks(f"http://127.0.0.1:{receiver.port}/hook")
        async with delivering(webhooks):
            webhooks.announce("trip.began", "shop", {"signal": "reward"})
            await receiver.wait_for(1)

    event = json.loads(receiver.bodies[0])
    assert event["specversion"] == "1.0"
    assert event["type"] == "nacre.trip.began"
    assert event["source"] == "urn:nacre"
    assert event["subject"] == "shop"
    assert event["data"] == {"signal": "reward"}
    assert event["time"].endswith("Z")
    assert receiver.headers[0]["content-type"] == "application/cloudevents+json"


async def test_an_event_that_failed_is_sent_again_with_the_same_id() -> None:
    async with _receiving(500, 429) as receiver:
        webhooks = Webhooks(f"http://127.0.0.1:{receiver.port}", waits_s=(0.01, 0.01))
        before = _sent("sent")
        async with delivering(webhooks):
            webhooks.announce("alarm.raised", "shop", {})
            await receiver.wait_for(3)

    assert len({json.loads(body)["id"] for body in receiver.bodies}) == 1
    assert _sent("sent") == before + 1


async def test_an_event_that_was_refused_is_not_sent_again() -> None:
    async with _receiving(400) as receiver:
        webhooks = Webhooks(f"http://127.0.0.1:{receiver.port}", waits_s=(0.01, 0.01))
        async with delivering(webhooks):
            webhooks.announce("alarm.raised", "shop", {"at": 1})
            webhooks.announce("alarm.raised", "shop", {"at": 2})
            await receiver.wait_for(2)

    assert [json.loads(body)["data"]["at"] for body in receiver.bodies] == [1, 2]


async def test_a_receiver_that_is_away_holds_nobody_up() -> None:
    webhooks = Webhooks("http://127.0.0.1:9", waits_s=())
    before = _sent("failed")

    async with delivering(webhooks):
        webhooks.announce("alarm.raised", "shop", {})

    assert _sent("failed") == before + 1


async def test_the_oldest_events_make_room_when_nobody_listens() -> None:
    async with _receiving() as receiver:
        webhooks = Webhooks(f"http://127.0.0.1:{receiver.port}", most=2)
        before = _sent("dropped")
        for at in range(3):
            webhooks.announce("alarm.raised", "shop", {"at": at})
        async with delivering(webhooks):
            await receiver.wait_for(2)

    assert [json.loads(body)["data"]["at"] for body in receiver.bodies] == [1, 2]
    assert _sent("dropped") == before + 1


async def test_a_secret_signs_what_is_sent() -> None:
    async with _receiving() as receiver:
        webhooks = Webhooks(f"http://127.0.0.1:{receiver.port}", SecretStr("key"))
        async with delivering(webhooks):
            webhooks.announce("alarm.raised", "shop", {})
            await receiver.wait_for(1)

    assert receiver.headers[0]["x-nacre-signature"] == signature("key", receiver.bodies[0])


def test_the_signature_is_the_hmac_of_the_body() -> None:
    # RFC 4231, test case 2: key "Jefe".
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"

    assert signature("Jefe", b"what do ya want for nothing?") == f"sha256={expected}"


@pytest.mark.parametrize("is_stopping", [False, True])
async def test_without_an_address_nothing_is_told(is_stopping: bool) -> None:
    webhooks = Webhooks(None)
    stop = asyncio.Event()
    if is_stopping:
        stop.set()

    webhooks.announce("alarm.raised", "shop", {})
    outcomes = ("sent", "failed", "dropped")
    before = [_sent(outcome) for outcome in outcomes]
    async with asyncio.timeout(5):
        await webhooks.deliver(stop)

    assert [_sent(outcome) for outcome in outcomes] == before
