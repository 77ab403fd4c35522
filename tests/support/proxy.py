"""A proxy that breaks connections on purpose, for between the service and Redis.

Inside an async test:

    async with FaultProxy(redis_url) as proxy:
        client = redis.asyncio.Redis.from_url(proxy.url)
        await proxy.stall()
        ...
        await proxy.heal()

For processes, from a thread of its own:

    with BackgroundProxy(redis_url) as proxy:
        children.nacre("serve", environment={"REDIS_URL": proxy.url})
        proxy.apply(FaultProxy.refuse)

Bytes are forwarded as they are; nothing here knows Redis, so it stands in front of an HTTP server as well.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, Literal, ParamSpec, Self, TypeVar
from urllib.parse import unquote, urlsplit

Direction = Literal["to_server", "to_client"]
P = ParamSpec("P")
T = TypeVar("T")

_CHUNK_BYTES = 64 * 1024
_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER with no time to linger: closing sends RST, not FIN
_CONTROL_S = 10.0


class FaultProxy:
    """Forwards every connection to `target`, a URL as redis-py reads them: `redis://` or `unix://`.

    It listens on 127.0.0.1, or on the unix socket `listen_path`. Faults hold until `heal`; only
    `cut_after` ends by itself, after the cut.
    """

    def __init__(self, target: str, *, listen_path: str | None = None) -> None:
        self._target = urlsplit(target)
        self._listen_path = listen_path
        self._port = 0
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._latency_s = 0.0
        self._left_until_cut: dict[Direction, int] = {}

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stop_listening()
        self._abort_all()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @property
    def url(self) -> str:
        """Where to connect instead of `target`, which gave the database number. Survives every fault."""
        if self._listen_path is not None:
            return f"unix://{self._listen_path}"
        return f"redis://127.0.0.1:{self.port}{self._target.path if self._is_tcp else ''}"

    @property
    def port(self) -> int:
        """The TCP port it listens on, the same after `refuse` and `heal`; 0 for a unix socket."""
        return self._port

    async def delay(self, latency_s: float) -> None:
        """Every byte, each way, arrives `latency_s` later. Throughput stays: chunks travel side by side."""
        self._latency_s = latency_s

    async def stall(self) -> None:
        """Connections are accepted and stay open, and nothing arrives until `heal`, as behind a dead link."""
        self._flowing.clear()

    async def reset(self) -> None:
        """Every open connection breaks now (RST on TCP); new ones work."""
        self._abort_all()

    async def refuse(self) -> None:
        """Every open connection breaks and new ones are refused, as when the server is gone."""
        await self._stop_listening()
        self._abort_all()

    async def cut_after(self, size_bytes: int, direction: Direction) -> None:
        """Lets `size_bytes` more through in `direction`, then breaks the connection that exceeds it, once.

        `cut_after(0, "to_client")` is the lost answer: the command arrived and nobody hears of it.
        """
        self._left_until_cut[direction] = size_bytes

    async def heal(self) -> None:
        """Ends every fault. What was stalled arrives now."""
        self._latency_s = 0.0
        self._left_until_cut.clear()
        self._flowing.set()
        if self._listener is None:
            await self._listen()

    @property
    def _is_tcp(self) -> bool:
        return self._target.scheme != "unix"

    async def _listen(self) -> None:
        if self._listen_path is not None:
            self._listener = await asyncio.start_unix_server(self._serve, self._listen_path)
            return
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._listener.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._is_tcp:
            return await asyncio.open_connection(self._target.hostname, self._target.port)
        return await asyncio.open_unix_connection(unquote(self._target.path))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        this = asyncio.current_task()
        assert this is not None
        self._connections.add(this)
        self._writers.add(writer)
        try:
            await self._bridge(reader, writer)
        except* OSError:
            _abort(
                writer
            )  # the target refuses, or one side broke: the client sees a broken connection
        finally:
            self._connections.discard(this)
            self._writers.discard(writer)
            writer.close()

    async def _bridge(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target_reader, target_writer = await self._connect()
        self._writers.add(target_writer)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, target_writer, "to_server"))
                pumps.create_task(self._pump(target_reader, writer, "to_client"))
        finally:
            self._writers.discard(target_writer)
            target_writer.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        """Forwards until the sender closes. Reading goes on while earlier chunks are still on their way."""
        loop = asyncio.get_running_loop()
        travelling: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=256)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._deliver(travelling, writer, direction))
            while data := await reader.read(_CHUNK_BYTES):
                await travelling.put((loop.time() + self._latency_s, data))
            await travelling.put((loop.time() + self._latency_s, b""))

    async def _deliver(
        self,
        travelling: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
        direction: Direction,
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await travelling.get()
            await asyncio.sleep(due - loop.time())
            await self._flowing.wait()
            if not data:
                return writer.close()
            await self._write(data, writer, direction)

    async def _write(self, data: bytes, writer: asyncio.StreamWriter, direction: Direction) -> None:
        left = self._left_until_cut.get(direction)
        if left is None:
            writer.write(data)
        elif len(data) <= left:
            self._left_until_cut[direction] = left - len(data)
            writer.write(data)
        else:
            del self._left_until_cut[direction]
            writer.write(data[:left])
            await writer.drain()
            raise ConnectionResetError("cut on purpose")
        await writer.drain()

    def _abort_all(self) -> None:
        for writer in list(self._writers):
            _abort(writer)


def _abort(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection.family != socket.AF_UNIX and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    writer.transport.abort()


class BackgroundProxy:
    """A `FaultProxy` with an event loop in a thread of its own, for tests whose callers are processes."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        self._proxy = self._run(self._open())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._run(self._proxy.__aexit__(kind, error, traceback))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return self._proxy.url

    def apply(
        self,
        fault: Callable[Concatenate[FaultProxy, P], Coroutine[Any, Any, None]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Applies a method of `FaultProxy`: `apply(FaultProxy.delay, 0.05)`. Holds when this returns."""
        self._run(fault(self._proxy, *args, **kwargs))

    async def _open(self) -> FaultProxy:
        return await FaultProxy(self._target).__aenter__()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CONTROL_S)
