"""Everything that can fill up is bounded: what does not fit is refused, counted, and welcome later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.deployment import Deploy, Deployment
from tests.support.policies import bandit
from tests.support.proxy import BackgroundProxy, FaultProxy
from tests.support.redis import StartRedis

pytestmark = pytest.mark.faults

ACT: dict[str, Any] = {"observation": {"vector": [0.5, -1]}, "actions": ["a", "b", "c"]}
SIZE = 10_000
BIG = ACT | {"metadata": {"note": "x" * SIZE}}


def test_more_than_may_wait_for_redis_is_refused_and_costs_no_memory(
    start_redis: StartRedis, deploy: Deploy
) -> None:
    """Failure table rows 13 and 14: 503 with Retry-After, counted with its reason."""
    with BackgroundProxy(start_redis().url) as proxy:
        nacre = deploy(proxy.url, NACRE_MAX_WAITING="50")
        api = nacre.serve()
        nacre.register(bandit())
        proxy.apply(FaultProxy.stall)
        accepted = _until_refused(nacre)
        _refused_times(nacre, 299)  # buffers and caches have their size now

        before = _resident_bytes(api.pid)
        answer = _refused_times(nacre, 1500)
        grown = _resident_bytes(api.pid) - before

        assert accepted == 50
        assert (answer.json()["code"], answer.json()["retryable"]) == ("Overloaded", True)
        assert answer.headers["retry-after"] == "1"
        assert grown < 0.2 * 1500 * SIZE
        assert nacre.metric('nacre_requests_refused_total{code="Overloaded"}') == 1800
        proxy.apply(FaultProxy.heal)
        nacre.wait_delivered()
        assert nacre.http.post("/v1/act", json=ACT).status_code == 200
        assert nacre.counts("home")["decisions"] == 51


def _until_refused(nacre: Deployment) -> int:
    """How many decisions are answered before the first refusal."""
    for at in range(1000):
        if nacre.http.post("/v1/act", json=BIG).status_code == 503:
            return at
    return 1000


def _refused_times(nacre: Deployment, times: int) -> httpx.Response:
    answers = [nacre.http.post("/v1/act", json=BIG) for _ in range(times)]
    assert {one.status_code for one in answers} == {503}
    return answers[-1]


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


def test_a_full_redis_refuses_writes_and_nothing_else(
    start_redis: StartRedis, deploy: Deploy
) -> None:
    """Failure table row 33."""
    nacre = deploy(start_redis().url)
    nacre.serve()
    nacre.register(bandit())
    deferred = nacre.http.post("/v1/act", json=ACT | {"defer_activation": True})
    decision_id = deferred.json()["decision_id"]
    reward = {"decision_id": decision_id, "reward": 1}
    with nacre.redis() as client:
        client.config_set("maxmemory", 1)

        writes = [
            nacre.http.post("/v1/act", json=ACT),
            nacre.http.post("/v1/observe", json=reward),
            nacre.http.post("/v1/shadow", json=ACT | {"action_id": "a", "behavior_policy": "x"}),
            nacre.http.post(f"/v1/decisions/{decision_id}/activate"),
            nacre.http.post("/v1/learn", json={}),
            nacre.http.put("/v1/policies/other", json=bandit("other")),
            nacre.http.put("/v1/policies/home/actions", json={"put": {"a": {}}}),
        ]
        reads = [
            nacre.http.get(path)
            for path in (
                "/healthz",
                "/readyz",
                "/metrics",
                "/v1/policies",
                "/v1/policies/home",
                f"/v1/decisions/{decision_id}",
            )
        ]

        assert [(one.status_code, one.json()["code"]) for one in writes] == [
            (503, "RedisFull")
        ] * len(writes)
        assert {one.headers["retry-after"] for one in writes} == {"1"}
        assert {one.status_code for one in reads} == {200}
        client.config_set("maxmemory", 512 * 2**20)
    assert nacre.http.post("/v1/act", json=ACT).status_code == 200
    assert (
        nacre.http.post("/v1/observe", json=reward).json()["results"][0]["state"] == "not_activated"
    )


def test_a_redis_that_evicts_is_refused_by_every_process(
    start_redis: StartRedis, deploy: Deploy
) -> None:
    """Failure table row 33: it would drop decisions that still wait, and nobody would notice."""
    nacre = deploy(start_redis().url)
    with nacre.redis() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")

    started = [nacre.serve(wait=False), nacre.worker(), nacre.learner()]
    codes = [child.wait(timeout_s=60) for child in started]

    assert codes == [1, 1, 1]
    for child in started:
        assert "maxmemory-policy noeviction" in child.output()
