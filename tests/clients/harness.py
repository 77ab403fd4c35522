"""A scripted service behind the transport seam, and one way to drive both clients.

Every test that takes the `sdk` fixture runs twice: against `Client` and against `AsyncClient`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import httpx
from nacre_client import AsyncClient, Client

Answer = httpx.Response | Exception | type[httpx.RequestError]


def answer(status: int = 200, body: Any = None, **headers: str) -> httpx.Response:
    """A JSON answer; `retry_after="1"` becomes the header Retry-After."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, json=body, headers=named)


def decision_body(**changes: Any) -> dict[str, Any]:
    """What the service answers to /v1/act."""
    return {
        "decision_id": "d-1",
        "policy": "digits",
        "model_version": "digits@42",
        "config_hash": "c1f0",
        "feature_schema": "fs:9a",
        "action": {"id": "sport", "index": 1},
        "propensity": 0.83,
        "ranking": [
            {"id": "sport", "probability": 0.83, "score": 0.41},
            {"id": "news", "probability": 0.17, "score": None},
        ],
        "reason": "policy",
        "reasons_detail": {"explored": False},
        "assignment": {"arm": "canary", "arm_probability": 0.05, "arm_propensity": 0.9},
        "mode": "online",
        "activated": True,
        "reward_deadline": "2026-11-20T21:00:00Z",
        **changes,
    }


def reward_body(**changes: Any) -> dict[str, Any]:
    """What the service answers to /v1/observe about one reward."""
    return {"results": [{"reward_id": "r-1", "state": "joined", "reward_so_far": 1.0, **changes}]}


def problem_body(status: int, code: str, **changes: Any) -> dict[str, Any]:
    """An RFC 9457 body."""
    return {"type": "urn:x", "title": "Refused", "status": status, "code": code, **changes}


class Wire:
    """Gives the scripted answers in order, the last one again and again, and keeps every request."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        given = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(given, type):
            raise given("scripted")
        if isinstance(given, Exception):
            raise given
        # A fresh object each time: a response that was read and closed cannot be given twice.
        return httpx.Response(given.status_code, content=given.content, headers=given.headers)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests if request.content]

    @property
    def targets(self) -> list[str]:
        """Method and undecoded path with query, as they went over the wire."""
        return [f"{one.method} {one.url.raw_path.decode()}" for one in self.requests]

    def headers(self, name: str) -> list[str | None]:
        return [request.headers.get(name) for request in self.requests]


class Sdk:
    """Opens clients of one flavour, and calls their methods whether or not they must be awaited."""

    def __init__(self, flavour: str) -> None:
        self.is_async = flavour == "async"
        self._opened: list[Any] = []

    def connect(self, wire: Callable[[httpx.Request], httpx.Response], **settings: Any) -> Any:
        return self.open(transport=httpx.MockTransport(wire), **settings)

    def open(self, **settings: Any) -> Any:
        kind = AsyncClient if self.is_async else Client
        client = kind(**settings)
        self._opened.append(client)
        return client

    async def call(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        result = method(*args, **options)
        return await result if inspect.isawaitable(result) else result

    async def close(self) -> None:
        for client in self._opened:
            await self.call(client.aclose if self.is_async else client.close)
