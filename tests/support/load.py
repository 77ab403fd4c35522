"""Traffic while something breaks: callers that ask for decisions and remember every answer.

with Load(nacre.url, "home") as load:
    load.wait_for(200)
    api.kill()
lost = [ack for ack in load.acks if not nacre.has("home", ack.decision_id)]
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx

from tests.support.processes import wait_until

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ack:
    """One answer with status 200. `durability`: the header `nacre-durability`, "" when confirmed.
    `asked_at`: on the monotonic clock."""

    decision_id: str
    durability: str
    asked_at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """One answer with another status."""

    status: int
    code: str
    seconds: float


class Load:
    """`callers` threads, each asking one decision after the other until the block ends."""

    def __init__(
        self,
        url: str,
        policy: str,
        *,
        callers: int = 4,
        body: Body | None = None,
        pause_s: float = 0.002,
    ) -> None:
        self.acks: list[Ack] = []
        self.refusals: list[Refusal] = []
        self.broken = 0
        self._body = body or {"observation": {"vector": [0.5, -1]}, "actions": ["a", "b", "c"]}
        self._url = url
        self._policy = policy
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, name="load") for _ in range(callers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(
        self, more: int, where: Callable[[Ack], bool] = lambda _: True, timeout_s: float = 30.0
    ) -> None:
        """Returns when `more` acknowledgements that fulfil `where` have come from now on."""
        start = len(self.acks)
        wait_until(
            lambda: sum(map(where, self.acks[start:])) >= more,
            what=f"{more} more acknowledgements",
            timeout_s=timeout_s,
            context=lambda: f"{len(self.acks)} acks, {self.broken} broken, {self.refusals[-3:]}",
        )

    def _call(self) -> None:
        with httpx.Client(base_url=self._url, timeout=10.0) as http:
            while not self._stop.is_set():
                self._ask(http)
                time.sleep(self._pause_s)

    def _ask(self, http: httpx.Client) -> None:
        decision_id = uuid4().hex
        started = time.monotonic()
        try:
            answer = http.post(
                "/v1/act", json={**self._body, "policy": self._policy, "decision_id": decision_id}
            )
        except httpx.TransportError:
            self.broken += 1
            self._stop.wait(0.05)
            return
        seconds = time.monotonic() - started
        if answer.status_code == 200:
            durability = answer.headers.get("nacre-durability", "")
            self.acks.append(Ack(decision_id, durability, started, seconds))
        else:
            self.refusals.append(
                Refusal(answer.status_code, answer.json().get("code", ""), seconds)
            )
