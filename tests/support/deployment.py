"""Nacre as it is deployed: real processes on one Redis, with shared folders.

    with deployed(folder, redis_url) as nacre:
        api = nacre.serve()
        worker, learner = nacre.worker(), nacre.learner()
        nacre.register(bandit())
        nacre.http.post("/v1/act", json={...})

One API at a time is behind `http`; after `api.kill()` another `serve()` takes its place. Leaving the
block ends every process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import redis

from service.repository import PolicyKeys
from tests.support.processes import Child, Children, answers, free_port, wait_until

OUTCOMES = (
    "rewarded",
    "defaulted",
    "not_activated",
    "not_learned",
    "quarantined",
    "no_successor",
    "unreadable",
)
"""Every way in which a decision may end, as the account of a policy counts them."""

_QUICK = {"NACRE_POLL_S": "0.1", "NACRE_LEASE_S": "1", "OMP_NUM_THREADS": "1"}
_START_S = 60.0


class Deployment:
    """The processes of one Nacre. `settings` go to all of them as environment variables."""

    def __init__(
        self, children: Children, folder: Path, redis_url: str, settings: Mapping[str, str]
    ) -> None:
        self._children = children
        self.folder = folder
        self.redis_url = redis_url
        self.port = free_port()
        self._settings = dict(settings)
        self.http = httpx.Client(base_url=self.url, timeout=10.0)

    def on(self, redis_url: str) -> Deployment:
        """The same deployment, whose processes are told of another Redis from now on."""
        self.redis_url = redis_url
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def artefacts(self) -> Path:
        return self.folder / "artefacts"

    def serve(self, *, wait: bool = True, **settings: str) -> Child:
        """Starts an API; returns when it answers, or at once without `wait`."""
        api = self._start("serve", settings)
        if wait:
            self.wait_alive(api)
        return api

    def worker(self, **settings: str) -> Child:
        return self._start("worker", settings)

    def learner(self, **settings: str) -> Child:
        return self._start("learner", settings)

    def wait_alive(self, api: Child) -> None:
        api.wait_until(lambda: answers(f"{self.url}/healthz"), what="/healthz", timeout_s=_START_S)

    def wait_ready(self, api: Child) -> None:
        api.wait_until(lambda: answers(f"{self.url}/readyz"), what="/readyz", timeout_s=_START_S)

    def _start(self, role: str, settings: Mapping[str, str]) -> Child:
        return self._children.nacre(role, environment={**self.environment(), **settings})

    def logs(self) -> str:
        """Everything that the processes of this deployment have printed so far."""
        files = sorted((self.folder / "logs").iterdir())
        return "".join(file.read_text(errors="replace") for file in files)

    def environment(self) -> dict[str, str]:
        """What every process of this deployment is told."""
        folders = {
            f"NACRE_{name.upper()}": str(self.folder / name)
            for name in ("artefacts", "archive", "checkpoints", "state")
        }
        place = {"REDIS_URL": self.redis_url, "NACRE_PORT": str(self.port)}
        return _QUICK | folders | place | self._settings

    # -- through HTTP ---------------------------------------------------------------------------

    def register(self, document: Mapping[str, Any]) -> None:
        answer = self.http.put(f"/v1/policies/{document['policy']}", json=document)
        assert answer.status_code in (200, 201), answer.text

    def counts(self, policy: str) -> dict[str, int]:
        """The account of a policy; an outcome that never happened is 0."""
        answer = self.http.get(f"/v1/policies/{policy}")
        assert answer.status_code == 200, answer.text
        counts: dict[str, int] = answer.json()["counts"]
        return dict.fromkeys((*OUTCOMES, "decisions"), 0) | counts

    def has(self, policy: str, decision_id: str) -> bool:
        """Whether the decision can be looked up."""
        answer = self.http.get(f"/v1/decisions/{decision_id}", params={"policy": policy})
        assert answer.status_code in (200, 404), answer.text
        return answer.status_code == 200

    def metric(self, name: str) -> float:
        """The value of one sample of /metrics, such as `nacre_requests_refused_total{code="X"}`; 0 if absent."""
        for line in self.http.get("/metrics").text.splitlines():
            sample, _, value = line.rpartition(" ")
            if sample == name:
                return float(value)
        return 0.0

    def waiting(self) -> int:
        """Writes that Redis has not confirmed to the API."""
        return int(self.http.get("/readyz").json()["redis"]["waiting"])

    def wait_delivered(self) -> None:
        """Returns when the API has nothing left that Redis has not confirmed."""
        wait_until(lambda: self.waiting() == 0, what="every write to be confirmed")

    # -- through Redis --------------------------------------------------------------------------

    @contextmanager
    def redis(self) -> Iterator[redis.Redis]:
        with redis.Redis.from_url(self.redis_url) as client:
            yield client

    def wait_joined(self, policy: str, *, timeout_s: float = 30.0) -> None:
        """Returns when no decision of the policy waits to be joined."""
        keys = PolicyKeys(policy)
        with self.redis() as client:
            wait_until(
                lambda: client.zcard(keys.due) == 0,
                what=f"every decision of {policy} to be joined",
                timeout_s=timeout_s,
                context=lambda: str(client.hgetall(keys.counts)),
            )


@contextmanager
def deployed(folder: Path, redis_url: str, **settings: str) -> Iterator[Deployment]:
    """A deployment with its files in `folder`. It starts no process by itself."""
    logs = folder / "logs"
    logs.mkdir(parents=True)
    children = Children(logs)
    nacre = Deployment(children, folder, redis_url, settings)
    try:
        with nacre.http:
            yield nacre
    finally:
        children.end_all()


Deploy = Callable[..., Deployment]
"""The fixture `deploy`: `deploy(redis_url, NACRE_MAX_WAITING="50")`."""


def total(counts: Mapping[str, int]) -> int:
    """What the decisions of an account have become, those that wait included."""
    return counts["pending"] + sum(counts[outcome] for outcome in OUTCOMES)
