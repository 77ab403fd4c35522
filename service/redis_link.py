"""Group commit: every write of all requests in flight shares one round trip to Redis.

    append(command) -> future        at most one batch is in flight; what arrives meanwhile goes next

One redis-py call per request cost 73 us of server CPU in an earlier study; this costs 6 to 7 us
(benchmarks/serving/RESULTS.md, `awaited_log_us`). Every command
sent here is idempotent (a Lua script keyed by a decision or reward id), so a command whose answer was
lost is simply sent again. That is what makes the promise of this class possible: a command that was
appended is delivered, or is on disk in the spool, or its caller was told `BackpressureError`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

import hiredis
import msgspec
import structlog

from service import metrics
from service.spool import Spool
from service.tasks import end

log = structlog.get_logger(__name__)
pack: Final[Callable[[tuple[bytes | str | int, ...]], bytes]] = hiredis.pack_command  # type: ignore[assignment]  # its stub says a tuple of one


def bulks(*arguments: bytes | str | int) -> bytes:
    """The arguments in the form of RESP, without the count that a command starts with."""
    return pack(arguments).partition(b"\r\n")[2]


class BackpressureError(Exception):
    """Too much is waiting for Redis; nothing was queued. Try again after `retry_after_s`."""

    retry_after_s: Final = 1.0


class LinkReplyError(Exception):
    """Redis refused a command for good (for example out of memory)."""


class _Unconfirmed:
    """The command is queued and spooled, but Redis has not answered in time."""

    def __repr__(self) -> str:
        return "UNCONFIRMED"


UNCONFIRMED: Final = _Unconfirmed()

_PASSING: Final = (
    "OOM", "MISCONF", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "MASTERDOWN", "NOAUTH", "NOPERM",
)  # fmt: skip
"""Refusals that end by themselves or by an operator: memory or disk full, a replica or a right missing."""


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """`confirm_timeout_s`: how long a caller waits for Redis. `max_waiting`: commands in memory.
    `reconnect_s`: pause between attempts. `stall_s`: silence after which the connection is dropped."""

    confirm_timeout_s: float = 0.25
    max_waiting: int = 50_000
    reconnect_s: float = 0.1
    stall_s: float = 5.0


class _Item(msgspec.Struct, eq=False, gc=False):
    command: bytes
    future: asyncio.Future[Any]
    is_spooled: bool = False


@dataclass(slots=True)
class LinkCounters:
    """What /metrics and /readyz report."""

    writes: int = 0
    commands: int = 0
    unconfirmed: int = 0
    refused: int = 0
    reconnects: int = 0
    replies_lost: int = 0
    errors: dict[str, int] = field(default_factory=dict)


class RedisLink:
    """One connection to Redis for the hot path. Make it with `open`, close it with `close`."""

    def __init__(self, url: str, scripts: Sequence[str], spool: Spool, limits: LinkLimits) -> None:
        self.counters = LinkCounters()
        self._url = urlsplit(url)
        self._scripts = [pack(("SCRIPT", "LOAD", text)) for text in scripts]
        self._spool = spool
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Item] = deque()
        self._flight: deque[_Item] = deque()
        self._postponed: list[_Item] = []
        self._protocol: _Wire | None = None
        self._is_scheduled = False
        self._is_late = False
        self._flushed_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._is_closing = False

    # -- life -----------------------------------------------------------------

    @classmethod
    async def open(
        cls, url: str, *, scripts: Sequence[str], spool: Spool, limits: LinkLimits | None = None
    ) -> RedisLink:
        """Starts connecting in the background; commands may be appended at once."""
        link = cls(url, scripts, spool, limits or LinkLimits())
        link._restore_spool()
        first = asyncio.Event()
        link._keeper = asyncio.create_task(link._keep_connected(first))
        await first.wait()
        return link

    async def close(self) -> None:
        """Delivers what is queued if Redis answers within the confirm timeout; spools the rest."""
        self._is_closing = True
        awaited = [i.future for i in (*self._flight, *self._queue) if not i.future.done()]
        if awaited and self.is_connected:
            await asyncio.wait(awaited, timeout=self._limits.confirm_timeout_s)
        if self._keeper is not None:
            await end(self._keeper)
        self._spool_everything()
        if self._protocol is not None:
            self._protocol.transport.abort()
        if self._timer is not None:
            self._timer.cancel()
        self._spool.close()

    @property
    def is_connected(self) -> bool:
        """Whether Redis is reachable and answering in time."""
        return self._protocol is not None and not self._is_late

    @property
    def waiting(self) -> int:
        """Commands that Redis has not confirmed."""
        return len(self._queue) + len(self._flight) + len(self._postponed)

    # -- writing --------------------------------------------------------------

    def append(self, *arguments: bytes | str | int) -> asyncio.Future[Any]:
        """Queues one idempotent command; see `append_packed`."""
        return self.append_packed(pack(arguments))

    def append_packed(self, command: bytes) -> asyncio.Future[Any]:
        """Queues one idempotent command, given in the form of RESP.

        The future gives Redis' reply, or UNCONFIRMED when Redis did not answer in time (the command
        is then in the spool and will be delivered), or raises LinkReplyError.

        Raises:
            BackpressureError: more than `max_waiting` commands wait already.
        """
        waiting = len(self._queue) + len(self._flight) + len(self._postponed)
        if waiting >= self._limits.max_waiting:
            self.counters.refused += 1
            raise BackpressureError
        item = _Item(command, self._loop.create_future())
        self._queue.append(item)
        if self._protocol is None or self._is_late:
            self._give_up_waiting(item)
        elif not self._flight and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)
        return item.future

    def _flush(self) -> None:
        self._is_scheduled = False
        if self._protocol is None or self._flight or not self._queue:
            return
        self._flight, self._queue = self._queue, self._flight
        self._flushed_at = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(
                self._limits.confirm_timeout_s, self._check_lateness
            )
        self.counters.writes += 1
        self.counters.commands += len(self._flight)
        self._protocol.transport.write(b"".join([item.command for item in self._flight]))

    def _check_lateness(self) -> None:
        """One timer for all: callers older than the confirm timeout stop waiting."""
        self._timer = None
        if not self._flight:
            return
        silence_s = self._loop.time() - self._flushed_at
        if silence_s >= self._limits.confirm_timeout_s:
            self._is_late = True
            for item in (*self._flight, *self._queue):
                self._give_up_waiting(item)
        if silence_s >= self._limits.stall_s and self._protocol is not None:
            log.warning("redis_stalled", silence_s=round(silence_s, 2), action="reconnecting")
            self._protocol.transport.abort()
            return
        pause = max(0.01, self._limits.confirm_timeout_s - silence_s)
        self._timer = self._loop.call_later(pause, self._check_lateness)

    def _give_up_waiting(self, item: _Item) -> None:
        if not item.is_spooled:
            item.is_spooled = True
            self._spool.append(item.command)
        if not item.future.done():
            self.counters.unconfirmed += 1
            item.future.set_result(UNCONFIRMED)

    # -- reading --------------------------------------------------------------

    def _on_reply(self, reply: Any) -> None:
        item = self._flight.popleft()
        if isinstance(reply, Exception):
            self._on_error(item, reply)
        elif not item.future.done():
            item.future.set_result(reply)
        if not self._flight:
            self._on_batch_done()

    def _on_batch_done(self) -> None:
        self._is_late = False
        if self._queue:
            self._flush()
        elif not self._postponed and not self._spool.is_empty:
            self._spool.clear()

    def _on_error(self, item: _Item, error: Exception) -> None:
        code = str(error).split(" ", 1)[0]
        self.counters.errors[code] = self.counters.errors.get(code, 0) + 1
        if code in ("NOSCRIPT", "LOADING", "READONLY") and self._protocol is not None:
            # The server forgot the scripts, is still loading, or became a replica: reconnect, resend.
            self._queue.append(item)
            self._protocol.transport.abort()
        elif item.is_spooled and any(word in str(error) for word in _PASSING):
            # Its caller was told that it will be delivered, so it waits until Redis has room again.
            if not self._postponed:
                self._loop.call_later(self._limits.confirm_timeout_s, self._send_postponed)
            self._postponed.append(item)
        elif item.future.done():
            metrics.LOST.labels(code).inc()
            log.error("redis_refused_spooled_command", error=str(error))
        else:
            item.future.set_exception(LinkReplyError(str(error)))

    def _send_postponed(self) -> None:
        self._queue.extend(self._postponed)
        self._postponed.clear()
        self._flush()

    # -- connection -----------------------------------------------------------

    async def _keep_connected(self, first: asyncio.Event) -> None:
        while not self._is_closing:
            try:
                await asyncio.wait_for(self._connect(), self._limits.stall_s)
            except Exception as error:  # noqa: BLE001  # this task must outlive whatever a connection does
                log.warning("redis_unreachable", error=str(error) or type(error).__name__)
                await asyncio.sleep(self._limits.reconnect_s)
                continue
            finally:
                first.set()
            await self._lost.wait()
            self.counters.reconnects += 1

    async def _connect(self) -> None:
        wire = await self._open_wire()
        try:
            for command in self._handshake():
                await wire.ask(command)
        except BaseException:
            wire.transport.abort()
            raise
        self._lost.clear()
        wire.start(self._on_reply, self._on_lost)
        self._protocol, self._is_late = wire, False
        self._flush()

    async def _open_wire(self) -> _Wire:
        if self._url.scheme == "unix":
            _, wire = await self._loop.create_unix_connection(_Wire, unquote(self._url.path))
        else:
            host, port = self._url.hostname or "127.0.0.1", self._url.port or 6379
            tls = self._url.scheme == "rediss" or None
            _, wire = await self._loop.create_connection(_Wire, host, port, ssl=tls)
        return wire

    def _handshake(self) -> list[bytes]:
        commands = list(self._scripts)
        database = self._url.path.strip("/") if self._url.scheme != "unix" else ""
        if database.isdigit() and database != "0":
            commands.insert(0, pack(("SELECT", database)))
        if self._url.password:
            user = (unquote(self._url.username),) if self._url.username else ()
            commands.insert(0, pack(("AUTH", *user, unquote(self._url.password))))
        return commands

    def _on_lost(self) -> None:
        self._protocol = None
        self.counters.replies_lost += len(self._flight)
        self._queue.extendleft(reversed(self._flight))
        self._flight.clear()
        for item in self._queue:
            self._give_up_waiting(item)
        self._lost.set()

    # -- spool ----------------------------------------------------------------

    def _restore_spool(self) -> None:
        for command in self._spool.read():
            future = self._loop.create_future()
            future.set_result(UNCONFIRMED)
            self._queue.append(_Item(command, future, is_spooled=True))

    def _spool_everything(self) -> None:
        for item in (*self._flight, *self._queue):
            self._give_up_waiting(item)


class _Wire(asyncio.Protocol):
    """The RESP connection: first a short question-and-answer handshake, then a stream of replies."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._answers: asyncio.Queue[Any] = asyncio.Queue()
        self._on_reply: Callable[[Any], None] = self._answers.put_nowait
        self._on_lost: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name

    def start(self, on_reply: Callable[[Any], None], on_lost: Callable[[], None]) -> None:
        self._on_reply, self._on_lost = on_reply, on_lost

    async def ask(self, command: bytes) -> Any:
        self.transport.write(command)
        reply = await self._answers.get()
        if isinstance(reply, Exception):
            raise LinkReplyError(str(reply)) from reply
        return reply

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            self._on_reply(reply)

    def connection_lost(self, error: Exception | None) -> None:
        if self._on_lost is not None:
            self._on_lost()
        else:
            self._answers.put_nowait(error or ConnectionResetError("Redis closed the connection"))
