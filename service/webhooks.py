"""Tells another system what changed: alarms, trips, recoveries, rollouts, approvals.

    webhooks.announce("trip.began", "shop", {...})     at once; never waits, never fails
    await webhooks.deliver(stop)                       a background task; what fails is tried again

Each event is one POST in CloudEvents 1.0's structured JSON form. A retry carries the same id, so a receiver that
was slow to answer can tell that it has seen the event. Delivery is in order and at least once while the process
lives; a process that dies forgets what still waits, and Redis' streams have it all.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import httpx
import msgspec
import structlog
from pydantic import SecretStr

from service import metrics
from service.clock import now_ms, rfc3339
from service.decisions.ids import new_id
from service.tasks import end
from service.workers.pause import pause

log = structlog.get_logger(__name__)

Announce = Callable[[str, str, Mapping[str, Any]], None]
"""What `Webhooks.announce` is to those who have something to tell."""

_TIMEOUT_S: Final = 5.0
_WAITS_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Between attempts: an outage of a quarter of a minute loses nothing."""
_WAITING: Final = 1_000
_TRY_AGAIN: Final = frozenset({408, 425, 429})
_encode = msgspec.json.Encoder().encode


class Waiting(NamedTuple):
    """One event on its way."""

    event_id: str
    body: bytes


def cloud_event(
    event_id: str, kind: str, subject: str, data: Mapping[str, Any], at_ms: int
) -> bytes:
    """The body of one event. `kind`: such as `alarm.raised`. `subject`: the policy that it is about."""
    return _encode(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": "urn:nacre",
            "type": f"nacre.{kind}",
            "subject": subject,
            "time": rfc3339(at_ms),
            "datacontenttype": "application/json",
            "data": data,
        }
    )


def signature(secret: str, body: bytes) -> str:
    """What `X-Nacre-Signature` says of `body`: `sha256=` and the hex digits of its HMAC."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


class Webhooks:
    """The events of one process. Without a `url` nothing is told, and nothing is kept.

    `secret`: signs every body. `waits_s`: pauses between attempts, one more attempt than pauses. `most`: events
    that wait; the oldest make room for new ones.
    """

    def __init__(
        self,
        url: str | None,
        secret: SecretStr | None = None,
        *,
        waits_s: Sequence[float] = _WAITS_S,
        most: int = _WAITING,
    ) -> None:
        self._url = url
        self._secret = secret
        self._waits_s = tuple(waits_s)
        self._queue: asyncio.Queue[Waiting] = asyncio.Queue(most)

    def announce(self, kind: str, subject: str, data: Mapping[str, Any]) -> None:
        """Queues one event; see `cloud_event`."""
        if self._url is None:
            return
        event_id = new_id()
        if self._queue.full():
            self._queue.get_nowait()
            metrics.WEBHOOKS.labels("dropped").inc()
            log.warning(
                "webhook_dropped", action="the oldest made room", waiting=self._queue.qsize()
            )
        self._queue.put_nowait(
            Waiting(event_id, cloud_event(event_id, kind, subject, data, now_ms()))
        )

    async def deliver(self, stop: asyncio.Event) -> None:
        """Sends what is announced until `stop` is set; what then waits gets one attempt more."""
        if self._url is None:
            return
        async with httpx.AsyncClient(timeout=_TIMEOUT_S) as client:
            stopped = asyncio.create_task(stop.wait())
            try:
                while not stop.is_set() or not self._queue.empty():
                    event = await self._next(stopped)
                    if event is not None:
                        await self._send(client, self._url, event, stop)
            finally:
                stopped.cancel()

    async def _next(self, stopped: asyncio.Task[bool]) -> Waiting | None:
        """The oldest event; None once there is no more to come."""
        if not self._queue.empty():
            return self._queue.get_nowait()
        waiting = asyncio.create_task(self._queue.get())
        await asyncio.wait({waiting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        waiting.cancel()
        return None

    async def _send(
        self, client: httpx.AsyncClient, url: str, event: Waiting, stop: asyncio.Event
    ) -> None:
        problem = ""
        for wait_s in (*self._waits_s, None):
            problem, is_final = await self._attempt(client, url, event)
            if not problem:
                metrics.WEBHOOKS.labels("sent").inc()
                return
            if is_final or wait_s is None or stop.is_set():
                break
            await pause(stop, wait_s)
        metrics.WEBHOOKS.labels("failed").inc()
        log.warning("webhook_failed", webhook=event.event_id, problem=problem, action="given up")

    async def _attempt(
        self, client: httpx.AsyncClient, url: str, event: Waiting
    ) -> tuple[str, bool]:
        """What went wrong, empty for nothing, and whether another attempt would be in vain."""
        headers = {"content-type": "application/cloudevents+json"}
        if self._secret is not None:
            headers["x-nacre-signature"] = signature(self._secret.get_secret_value(), event.body)
        try:
            answer = await client.post(url, content=event.body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{type(error).__name__}: {error}", False
        if answer.is_success:
            return "", False
        is_refused = answer.is_client_error and answer.status_code not in _TRY_AGAIN
        return f"answered {answer.status_code}", is_refused


@asynccontextmanager
async def delivering(webhooks: Webhooks) -> AsyncIterator[None]:
    """Delivers in the background; at the end of the block what waits gets one attempt more."""
    stop = asyncio.Event()
    task = asyncio.create_task(webhooks.deliver(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait({task}, timeout=_TIMEOUT_S)
        await end(task)
