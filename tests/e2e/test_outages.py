"""Redis is slow, silent, breaks off or is away: decisions are made, in time, and reach the log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from service.redis_server import PrivateRedis
from tests.support.deployment import Deployment, deployed
from tests.support.load import Load
from tests.support.policies import bandit
from tests.support.proxy import BackgroundProxy, FaultProxy

pytestmark = pytest.mark.faults

DEADLINE_S = 0.25
MARGIN_S = 1.0
"""What a request may take beyond its deadline on two cores that other tests keep busy."""
PASSWORD = "redis-7e5d0c9b3a184f62"
ACT: dict[str, Any] = {"observation": {"vector": [0.5, -1]}, "actions": ["a", "b", "c"]}


class Shaken:
    """An API with a proxy between it and Redis."""

    def __init__(self, nacre: Deployment, proxy: BackgroundProxy) -> None:
        self.nacre = nacre
        self.proxy = proxy
        self.before_redis: dict[str, int] = {}

    @contextmanager
    def under_load(self) -> Iterator[Load]:
        """Calls while the block runs. In the end every one was answered with a decision, in time, and
        every decision is in Redis, once."""
        before = self.nacre.counts("home")["decisions"]
        with Load(self.nacre.url, "home") as load:
            load.wait_for(20)
            yield load
            load.wait_for(20)
        self.nacre.wait_delivered()
        assert not load.refusals
        assert not load.broken
        assert max(ack.seconds for ack in load.acks) < DEADLINE_S + MARGIN_S
        assert [a for a in load.acks if not self.nacre.has("home", a.decision_id)] == []
        assert self.nacre.counts("home")["decisions"] - before == len(load.acks)


@pytest.fixture(scope="module")
def shaken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shaken]:
    """Its API was started before Redis could be reached; its Redis asks for a password."""
    folder = tmp_path_factory.mktemp("shaken")
    policies = folder / "policies"
    policies.mkdir()
    (policies / "home.json").write_text(json.dumps(bandit()))
    with (
        PrivateRedis(folder / "redis") as server,
        redis.Redis.from_url(server.url) as client,
        BackgroundProxy(server.url) as proxy,
        deployed(
            folder / "nacre",
            proxy.url.replace("redis://", f"redis://:{PASSWORD}@"),
            NACRE_POLICIES=str(policies),
        ) as nacre,
    ):
        client.config_set("requirepass", PASSWORD)
        shaken = Shaken(nacre, proxy)
        proxy.apply(FaultProxy.refuse)
        api = nacre.serve()
        for path in ("/healthz", "/readyz"):
            shaken.before_redis[path] = nacre.http.get(path).status_code
        shaken.before_redis["/v1/act"] = nacre.http.post("/v1/act", json=ACT).status_code
        proxy.apply(FaultProxy.heal)
        nacre.wait_ready(api)
        yield shaken


def test_an_api_that_starts_before_redis_is_alive_and_becomes_ready(shaken: Shaken) -> None:
    """Failure table row 31. Ready means: with the policies of its folder."""
    assert shaken.before_redis == {"/healthz": 200, "/readyz": 503, "/v1/act": 503}
    assert shaken.nacre.http.get("/readyz").json()["serving"] == ["home@1"]


def test_a_slow_redis_costs_time_and_nothing_else(shaken: Shaken) -> None:
    """Failure table row 31: 200 ms for the way there and back, of 250 that a decision may take."""
    with shaken.under_load() as load:
        shaken.proxy.apply(FaultProxy.delay, 0.1)
        load.wait_for(20)
        shaken.proxy.apply(FaultProxy.heal)

    assert max(ack.seconds for ack in load.acks) >= 0.2


def test_a_silent_redis_is_not_waited_for(shaken: Shaken) -> None:
    """Failure table row 31. Liveness does not ask Redis; readiness says what it knows of it."""
    nacre = shaken.nacre
    with shaken.under_load() as load:
        shaken.proxy.apply(FaultProxy.stall)
        load.wait_for(50, lambda ack: ack.durability == "spooled")

        ready = nacre.http.get("/readyz")
        alive = nacre.http.get("/healthz")

        assert ready.status_code == 200
        assert ready.json()["redis"]["connected"] is False
        assert ready.json()["redis"]["waiting"] >= 50
        assert alive.status_code == 200
        assert nacre.metric('nacre_spooled_total{kind="decision"}') >= 50
        shaken.proxy.apply(FaultProxy.heal)
    assert nacre.http.get("/readyz").json()["redis"]["connected"] is True


def test_a_redis_that_is_away_loses_no_reward(shaken: Shaken) -> None:
    """Failure table rows 12 and 31: a reward that was dropped would become a default reward."""
    nacre = shaken.nacre
    decision_id = nacre.http.post("/v1/act", json=ACT).json()["decision_id"]
    with shaken.under_load() as load:
        shaken.proxy.apply(FaultProxy.refuse)
        load.wait_for(20, lambda ack: ack.durability == "spooled")

        answer = nacre.http.post("/v1/observe", json={"decision_id": decision_id, "reward": 2.5})

        assert answer.status_code == 202
        assert answer.headers["nacre-durability"] == "spooled"
        assert answer.json()["results"] == [{"reward_id": "reward", "state": "pending"}]
        shaken.proxy.apply(FaultProxy.heal)
    life = nacre.http.get(f"/v1/decisions/{decision_id}").json()
    assert [reward["value"] for reward in life["rewards"]] == [2.5]


def test_a_connection_that_breaks_is_made_again(shaken: Shaken) -> None:
    """Failure table row 31."""
    with shaken.under_load() as load:
        for _ in range(5):
            shaken.proxy.apply(FaultProxy.reset)
            load.wait_for(10)

    assert shaken.nacre.http.get("/readyz").json()["redis"]["connected"] is True


def test_a_lost_answer_of_redis_counts_nothing_twice(shaken: Shaken) -> None:
    """Failure table row 17: the command arrived, its answer did not, and it is sent again."""
    before = shaken.nacre.counts("home")["decisions"]
    with shaken.under_load() as load:
        for _ in range(5):
            shaken.proxy.apply(FaultProxy.cut_after, 0, "to_client")
            load.wait_for(10)

    assert shaken.nacre.counts("home")["decisions"] == before + len(load.acks)


def test_what_needs_redis_says_so_while_it_is_away(shaken: Shaken) -> None:
    """Failure table row 31: 503 with Retry-After, never a 500 and never a hang."""
    shaken.proxy.apply(FaultProxy.refuse)
    try:
        answers = [
            shaken.nacre.http.get(path)
            for path in (
                "/v1/policies",
                "/v1/policies/home",
                "/v1/decisions/d",
                "/v1/learn/jobs/home.j",
            )
        ]
    finally:
        shaken.proxy.apply(FaultProxy.heal)

    assert {(one.status_code, one.json()["code"]) for one in answers} == {(503, "RedisUnavailable")}
    assert {one.headers["retry-after"] for one in answers} == {"1"}


def test_the_password_of_redis_is_in_no_log(shaken: Shaken) -> None:
    shaken.proxy.apply(FaultProxy.reset)

    assert PASSWORD not in shaken.nacre.logs()
