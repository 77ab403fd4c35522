"""The load generator: a process of its own that speaks just enough HTTP to be cheap.

It is given a `Plan` on stdin and prints a `Result` on stdout, both msgpack. Only answers with status 200
(or 202) that name one of the expected values count; all others are failures. The server's processor time
is read from the moment the connections stand until the last answer is in. SIGUSR1 ends a window early.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections import deque
from itertools import cycle
from typing import Final, cast

import msgspec
import uvloop

from benchmarks.serving.accounting import machine_busy_s, process_cpu_s, processes_cpu_s
from benchmarks.serving.statistics import Window, percentile

_PATIENCE_S: Final = 30.0
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"\r\ncontent-length: "
_NOT_DURABLE: Final = b"\r\nnacre-durability:"
"""This header says that the answer was given before Redis had the record: then it was not durable."""


class Shot(msgspec.Struct, frozen=True):
    """One HTTP request as bytes, and the values of which the answer must name one after `marker`."""

    request: bytes
    marker: bytes
    accepted: frozenset[bytes]


class Load(msgspec.Struct, frozen=True):
    """What a server is asked for `seconds`, at most `limit` requests.

    `rate` 0 is a closed loop: every connection asks again as soon as it is answered. Otherwise requests
    come as a Poisson process of that many per second, and latency counts from the moment they were due.
    `keeps`: whether to return the answers' bodies, with the number of the shot that each belongs to.
    """

    shots: list[Shot]
    connections: int
    seconds: float
    limit: int
    rate: float = 0.0
    keeps: bool = False


class Plan(msgspec.Struct, frozen=True):
    """A load and whom it is for. `own_pids`: the benchmark's other processes, which are not foreign."""

    load: Load
    port: int
    server_pid: int
    own_pids: list[int]


class Result(msgspec.Struct, frozen=True):
    """What happened. `complaint`: the first wrong answer."""

    window: Window
    kept: list[tuple[int, bytes]] = []
    complaint: str = ""


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request in flight."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._held = b""
        self.is_asking = False
        self.shot = 0
        self.asked_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports are not instances of asyncio's class.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._held + data if self._held else data
        head = data.find(_HEAD_END)
        if head < 0 or len(data) < head + 4 + _content_length(data, head):
            self._held = data
            return
        self._held = b""
        self._run.on_answer(self, data, head)

    def connection_lost(self, error: Exception | None) -> None:
        self._run.on_lost(self)


def _content_length(data: bytes, head: int) -> int:
    at = data.find(_LENGTH, 0, head + 2) + len(_LENGTH)
    return int(data[at : data.find(b"\r\n", at)])


class _Run:
    """The state of one window."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._load = plan.load
        self._shots = cycle(enumerate(plan.load.shots))
        self._left = plan.load.limit
        self._ends_at = 0.0
        self._idle: deque[_Connection] = deque()
        self._due: deque[float] = deque()
        self._in_flight = 0
        self._settled = asyncio.Event()
        self.latencies: list[float] = []
        self.failed = 0
        self.kept: list[tuple[int, bytes]] = []
        self.complaint = ""

    async def measure(self) -> Result:
        plan, loop = self._plan, asyncio.get_running_loop()
        for _ in range(self._load.connections):
            _, one = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", plan.port)
            self._idle.append(one)
        loop.add_signal_handler(signal.SIGUSR1, self._finish)
        own = [plan.server_pid, os.getpid(), *plan.own_pids]
        busy, ours = machine_busy_s(), processes_cpu_s(own)
        served, started = process_cpu_s(plan.server_pid), time.monotonic()
        self._ends_at = started + self._load.seconds
        if self._load.rate:
            await self._open_loop()
        else:
            self._closed_loop()
        await self._drain()
        seconds = time.monotonic() - started
        served = process_cpu_s(plan.server_pid) - served
        busy, ours = machine_busy_s() - busy, processes_cpu_s(own) - ours
        foreign = max(0.0, busy - ours) / ((os.cpu_count() or 1) * seconds)
        return Result(self._window(seconds, served, foreign), self.kept, self.complaint)

    def _finish(self) -> None:
        self._ends_at = 0.0

    def _window(self, seconds: float, served_s: float, foreign: float) -> Window:
        ordered = sorted(self.latencies)
        count = len(ordered)
        return Window(
            requests=count,
            failed=self.failed,
            seconds=seconds,
            cpu_us=served_s * 1e6 / max(1, count),
            foreign=foreign,
            p50_us=percentile(ordered, 0.5) * 1e6,
            p99_us=percentile(ordered, 0.99) * 1e6,
        )

    def _closed_loop(self) -> None:
        while self._idle and self._left > 0:
            self._ask(self._idle.popleft(), time.monotonic())

    async def _open_loop(self) -> None:
        arrivals, due = random.Random(7), time.monotonic()
        while (now := time.monotonic()) < self._ends_at and self._left > 0:
            while due <= now and self._left > 0:
                self._arrive(due, now)
                due += arrivals.expovariate(self._load.rate)
            # Timers of the loop are milliseconds; the rest is waited for by letting others run, of whom
            # Redis is one.
            os.sched_yield()
            await asyncio.sleep(max(0.0, due - now - 0.001))

    def _arrive(self, due: float, now: float) -> None:
        if self._idle:
            self._ask(self._idle.popleft(), now)
        else:
            self._due.append(due)

    async def _drain(self) -> None:
        """Waits for what is in flight; a closed loop is nothing else."""
        self._due.clear()
        patience_s = max(0.0, self._ends_at - time.monotonic()) + _PATIENCE_S
        try:
            if self._in_flight:
                await asyncio.wait_for(self._settled.wait(), patience_s)
        except TimeoutError:
            self._fail(f"{self._in_flight} requests were never answered", self._in_flight)

    def _ask(self, connection: _Connection, asked_at: float) -> None:
        self._left -= 1
        self._in_flight += 1
        connection.shot, shot = next(self._shots)
        connection.asked_at, connection.is_asking = asked_at, True
        connection.transport.write(shot.request)

    def on_answer(self, connection: _Connection, data: bytes, head: int) -> None:
        now = time.monotonic()
        self._in_flight -= 1
        connection.is_asking = False
        if self._is_right(self._load.shots[connection.shot], data, head):
            self.latencies.append(now - connection.asked_at)
            if self._load.keeps:
                self.kept.append((connection.shot, data[head + 4 :]))
        else:
            self._fail(data[:2000].decode("latin-1"), 1)
        self._next(connection, now)

    def _next(self, connection: _Connection, now: float) -> None:
        if self._left <= 0 or now >= self._ends_at:
            if not self._in_flight:
                self._settled.set()
        elif not self._load.rate:
            self._ask(connection, now)
        elif self._due:
            self._ask(connection, self._due.popleft())
        else:
            self._idle.append(connection)

    def _is_right(self, shot: Shot, data: bytes, head: int) -> bool:
        if data[9:12] not in (b"200", b"202") or data.find(_NOT_DURABLE, 0, head) >= 0:
            return False
        marked = data.find(shot.marker, head)
        start = marked + len(shot.marker)
        return marked > 0 and data[start : data.find(b'"', start)] in shot.accepted

    def on_lost(self, connection: _Connection) -> None:
        if connection.is_asking:
            self._fail("the server closed a connection", 1)
            self._in_flight -= 1

    def _fail(self, complaint: str, count: int) -> None:
        self.failed += count
        self.complaint = self.complaint or complaint


def main() -> None:
    """Runs the plan on stdin."""
    plan = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Plan)
    result = uvloop.run(_measure(plan))
    sys.stdout.buffer.write(msgspec.msgpack.encode(result))


async def _measure(plan: Plan) -> Result:
    return await _Run(plan).measure()


if __name__ == "__main__":
    main()
