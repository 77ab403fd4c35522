"""Processes are killed under load: what was acknowledged is found again, and counted once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
import redis

from service.policies.repository import VersionDescription
from service.replay.codec import decode_transition
from service.repository import PolicyKeys
from tests.support.deployment import Deploy, Deployment, total
from tests.support.load import Load
from tests.support.policies import bandit, with_agent
from tests.support.processes import wait_until
from tests.support.proxy import BackgroundProxy, FaultProxy
from tests.support.redis import StartRedis, kill

pytestmark = pytest.mark.faults

DEADLINE_S = 0.25
MARGIN_S = 1.0
"""What a request may take beyond its deadline on two cores that other tests keep busy."""


def test_what_the_api_acknowledged_outlives_it(start_redis: StartRedis, deploy: Deploy) -> None:
    """Failure table rows 15, 17 and 31: confirmed ones, and those spooled while Redis was silent.

    What was on its way when Redis fell silent arrives when it wakes, and is in the spool as well.
    """
    server = start_redis()
    with BackgroundProxy(server.url) as proxy, redis.Redis.from_url(server.url) as client:
        nacre = deploy(proxy.url)
        api = nacre.serve()
        nacre.register(bandit())
        with Load(nacre.url, "home") as load:
            load.wait_for(80)
            proxy.apply(FaultProxy.stall)
            load.wait_for(60, lambda ack: ack.durability == "spooled")
            api.kill()
        confirmed = sum(not ack.durability for ack in load.acks)
        proxy.apply(FaultProxy.heal)
        wait_until(lambda: _decisions(client) > confirmed, what="what was on its way to arrive")

        again = nacre.serve()
        nacre.wait_ready(again)
        nacre.wait_delivered()

        assert not load.refusals
        assert [a for a in load.acks if not nacre.has("home", a.decision_id)] == []
        # Delivered twice counts once; a decision whose caller heard nothing may or may not be there.
        assert len(load.acks) <= nacre.counts("home")["decisions"] <= len(load.acks) + load.broken


def _decisions(client: redis.Redis) -> int:
    return int(client.hget(PolicyKeys("home").counts, "decisions") or 0)


def test_redis_dies_under_load_and_nobody_notices(start_redis: StartRedis, deploy: Deploy) -> None:
    """Failure table rows 15 and 31.

    Redis syncs always here. With `everysec` it holds writes back while a sync is under way, so a
    kill at that moment may lose what it has acknowledged just before.
    """
    server = start_redis()
    nacre = deploy(server.url)
    nacre.serve()
    with nacre.redis() as client:
        client.config_set("appendfsync", "always")
    nacre.register(bandit(durability="fsync"))
    with Load(nacre.url, "home") as load:
        load.wait_for(80)
        kill(server)
        load.wait_for(80)
        server.restart()
        load.wait_for(60, lambda ack: not ack.durability)
    nacre.wait_delivered()

    assert not load.refusals
    assert not load.broken
    assert max(ack.seconds for ack in load.acks) < DEADLINE_S + MARGIN_S
    assert [a for a in load.acks if not nacre.has("home", a.decision_id)] == []
    assert nacre.counts("home")["decisions"] == len(load.acks)


def test_the_loop_closes_again_after_redis_died(start_redis: StartRedis, deploy: Deploy) -> None:
    """Failure table row 31: worker and learner wait for Redis, and none of them ends."""
    server = start_redis()
    nacre = deploy(server.url)
    processes = [nacre.serve(), nacre.worker(), nacre.learner()]
    nacre.register(bandit())
    _rewarded(nacre, "before")
    wait_until(lambda: _is_learned(nacre, "before"), what="the loop to close")
    kill(server)
    nacre.http.post("/v1/act", json=_act("during"))
    server.restart()
    nacre.wait_delivered()

    _rewarded(nacre, "after")
    _rewarded(nacre, "during")
    wait_until(lambda: _is_learned(nacre, "during"), what="the loop to close again")

    assert _is_learned(nacre, "after")
    assert [one.exit_code for one in processes] == [None] * 3


def _rewarded(nacre: Deployment, decision_id: str) -> None:
    """A decision, made now if it was not made before, and its final reward."""
    assert nacre.http.post("/v1/act", json=_act(decision_id)).status_code == 200
    reward = {"decision_id": decision_id, "reward": 1, "final": True}
    assert nacre.http.post("/v1/observe", json=reward).json()["results"][0]["state"] == "joined"


def _is_learned(nacre: Deployment, decision_id: str) -> bool:
    return bool(nacre.http.get(f"/v1/decisions/{decision_id}").json().get("learned_by"))


def test_a_killed_worker_leaves_an_account_that_adds_up(
    start_redis: StartRedis, deploy: Deploy
) -> None:
    """Failure table rows 7 and 17: rewards join once, defaults are applied once."""
    nacre = deploy(start_redis().url)
    nacre.serve()
    nacre.register(bandit(reward={"wait_s": 1.0}))
    backlog = _backlog(nacre, 1500)
    worker = nacre.worker()
    with nacre.redis() as client:
        keys = PolicyKeys("home")
        worker.wait_until(lambda: client.xlen(keys.replay) > 0, what="the first joins")
        worker.kill()
        left = client.zcard(keys.due)

        nacre.worker()
        nacre.wait_joined("home")

        joined = Counter(_transitions(client))
    counts = nacre.counts("home")
    assert 0 < left < 1500, "it was killed in the middle"
    assert counts["decisions"] == total(counts) == 1500
    assert (counts["rewarded"], counts["defaulted"]) == (backlog["rewarded"], backlog["silent"])
    assert counts["not_activated"] == backlog["deferred"]
    assert len(joined) == counts["rewarded"] + counts["defaulted"]
    assert set(joined.values()) == {1}


def test_a_killed_learner_learns_everything_once(start_redis: StartRedis, deploy: Deploy) -> None:
    """Failure table row 17: it goes on from its checkpoint, which knows its place in the stream."""
    nacre = deploy(start_redis().url)
    api = nacre.serve()
    learning = {"publish_every_s": 0.2, "checkpoint_every_s": 0.1}
    nacre.register(
        with_agent(
            bandit(learning=learning),
            policy_learner={"kind": "dqn"},
            replay={"kind": "fifo", "capacity": 2000},
        )
    )
    _backlog(nacre, 700, ("rewarded",))
    nacre.worker()
    nacre.wait_joined("home")
    learner = nacre.learner()
    learner.wait_until(lambda: _newest(nacre).experience > 0, what="the first version")
    learner.kill()
    before = _newest(nacre)

    nacre.learner()
    wait_until(
        lambda: _newest(nacre).experience >= 700, what="the rest to be learned", timeout_s=60
    )
    wait_until(lambda: _serving(nacre) == _newest(nacre).version, what="the newest to serve")

    assert before.experience < 700, "it was killed in the middle"
    assert _newest(nacre).experience == 700
    assert api.exit_code is None


def _newest(nacre: Deployment) -> VersionDescription:
    """The last published version; its `experience` is how many transitions it was made of."""
    answer = nacre.http.get("/v1/policies/home/versions").json()
    return msgspec.convert(answer["versions"][-1]["description"], VersionDescription)


def _serving(nacre: Deployment) -> int:
    label: str = nacre.http.get("/v1/policies/home").json()["serving"]
    return int(label.rpartition("@")[2])


def _backlog(
    nacre: Deployment, count: int, turn: Sequence[str] = ("rewarded", "silent", "deferred")
) -> Counter[str]:
    """Decisions of these kinds in turn: rewarded for good, left alone, never shown."""
    kinds = [turn[at % len(turn)] for at in range(count)]
    for start in range(0, count, 250):
        part = list(enumerate(kinds))[start : start + 250]
        acts = [_act(f"d{at}", defer=kind == "deferred") for at, kind in part]
        answer = nacre.http.post("/v1/act:batch", json={"requests": acts})
        assert {one["status"] for one in answer.json()["responses"]} == {200}
        rewards = [
            {"decision_id": f"d{at}", "reward": 1, "final": True}
            for at, kind in part
            if kind == "rewarded"
        ]
        answer = nacre.http.post("/v1/observe", json={"rewards": rewards})
        assert {one["state"] for one in answer.json()["results"]} == {"joined"}
    return Counter(kinds)


def _transitions(client: redis.Redis) -> list[str]:
    """The decisions behind the entries of the replay stream."""
    entries: Any = client.xrange(PolicyKeys("home").replay)
    return [decode_transition(fields[b"b"]).transition.decision_id for _, fields in entries]


def _act(decision_id: str, *, defer: bool = False) -> dict[str, Any]:
    return {
        "decision_id": decision_id,
        "observation": {"vector": [0.5, -1]},
        "actions": ["a", "b", "c"],
        "defer_activation": defer,
    }
