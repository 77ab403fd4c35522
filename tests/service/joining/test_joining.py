"""Rewards join decisions, in a real Redis: each decision ends once, and the account adds up."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.archive.logic import event_of
from service.joining.repository import Finish, Park
from service.policies.catalog import CatalogAction, CatalogDocument
from tests.support.ledgers import START_MS, World, open_world
from tests.support.policies import bandit, featured, with_agent
from tests.support.redis import StartRedis, kill


@pytest.fixture
async def world(redis_url: str) -> AsyncIterator[World]:
    """A bandit policy; rewards may come for 60 s, the default is -1."""
    async with open_world(redis_url, bandit(reward={"wait_s": 60, "default": -1.0})) as world:
        yield world


async def rewards_of(world: World) -> list[float]:
    return [transition.reward for transition in await world.transitions()]


# -- rewards and defaults -------------------------------------------------------------------------


async def test_a_rewarded_decision_becomes_the_transition_that_was_served(world: World) -> None:
    await world.decide("d1", actions=["a", "b", "c"], action="b", propensity=0.25, version=7)
    await world.reward("d1", 2.0, cost=0.5)
    await world.reward("d1", 1.0)

    closed = await world.join(at_ms=world.deadline_ms)

    [made] = await world.transitions()
    assert closed == 1
    assert made.decision_id == "d1"
    assert made.state.tolist() == [1.0, 2.0]
    assert made.actions.ids == ("a", "b", "c")
    assert (made.action, made.propensity, made.model_version) == (1, 0.25, 7)
    assert (made.reward, made.cost, made.terminated) == (3.0, 0.5, True)
    assert await world.counts() == {"decisions": 1, "reward_joined": 2, "rewarded": 1}


async def test_a_request_in_msgpack_is_joined_like_one_in_json(world: World) -> None:
    record = world.decision("d1")
    asked = msgspec.json.decode(record.request)
    asked["observation"]["vector"] = struct.pack("<2f", 3.0, 4.0)
    request = msgspec.msgpack.encode(asked)
    await world.write(msgspec.structs.replace(record, media="msgpack", request=request))

    await world.join(at_ms=world.deadline_ms)

    [made] = await world.transitions()
    assert made.state.tolist() == [3.0, 4.0]


async def test_closed_decisions_are_counted_by_outcome(world: World) -> None:
    def closed(outcome: str) -> float:
        labels = {"policy": "home", "outcome": outcome}
        return REGISTRY.get_sample_value("nacre_joined_total", labels) or 0.0

    before = closed("rewarded"), closed("defaulted")
    await world.decide("d1")
    await world.decide("d2")
    await world.reward("d2", 1.0)

    await world.join(at_ms=world.deadline_ms)

    assert (closed("rewarded"), closed("defaulted")) == (before[0] + 1, before[1] + 1)


async def test_nothing_is_joined_before_the_deadline(world: World) -> None:
    await world.decide("d1")
    await world.reward("d1", 1.0)

    assert await world.join(at_ms=world.deadline_ms - 1) == 0
    assert await world.state("d1") == "open"


async def test_a_final_reward_is_joined_at_once(world: World) -> None:
    await world.decide("d1")
    await world.reward("d1", 1.0, final=True)

    assert await world.join() == 1
    assert await rewards_of(world) == [1.0]


async def test_corrections_count_and_what_they_correct_does_not(world: World) -> None:
    await world.decide("d1")
    await world.reward("d1", 5.0, reward_id="a")
    await world.reward("d1", 7.0, reward_id="b")
    await world.reward("d1", 2.0, reward_id="a", op="amend")
    await world.reward("d1", None, reward_id="b", op="retract")

    await world.join(at_ms=world.deadline_ms)

    assert await rewards_of(world) == [2.0]


async def test_the_default_is_applied_exactly_once_across_a_crash_of_redis(
    start_redis: StartRedis,
) -> None:
    """(failure table row 7)"""
    server = start_redis()
    document = bandit(reward={"wait_s": 60, "default": -1.0})
    async with open_world(server.url, document) as world:
        await world.decide("d2")
        await world.decide("d1")
        await world.client.zadd(world.keys.due, {"d2": world.deadline_ms + 1})
        await world.join(at_ms=world.deadline_ms)
    kill(server)
    server.restart()

    async with open_world(server.url, document) as world:
        closed = await world.join(at_ms=world.deadline_ms + 1)
        again = await world.join(at_ms=world.deadline_ms)

        assert (closed, again) == (1, 0)
        assert [(made.decision_id, made.reward) for made in await world.transitions()] == [
            ("d1", -1.0),
            ("d2", -1.0),
        ]
        assert await world.counts() == {"decisions": 2, "defaulted": 2}


async def test_a_late_reward_is_kept_and_counted_and_never_learned(world: World) -> None:
    """(failure table row 3)"""
    await world.decide("d1")
    await world.join(at_ms=world.deadline_ms)

    state = await world.reward("d1", 9.0)
    closed = await world.join(at_ms=world.deadline_ms)

    assert (state, closed) == ("late", 0)
    assert await rewards_of(world) == [-1.0]
    assert await world.counts() == {"decisions": 1, "defaulted": 1, "reward_late": 1}


async def test_a_late_reward_does_not_outlive_its_decision(world: World) -> None:
    await world.decide("d1")
    await world.join(at_ms=world.deadline_ms)

    await world.reward("d1", 9.0)

    decision_ms = await world.client.pttl(world.keys.decision_prefix + "d1")
    ledger_ms = await world.client.pttl(world.keys.ledger_prefix + "d1")
    assert 0 < ledger_ms <= decision_ms


# -- early rewards (failure table row 4) ----------------------------------------------------------


async def test_a_reward_that_comes_first_joins_when_its_decision_lands(world: World) -> None:
    """(failure table row 4)"""
    state = await world.reward("d1", 4.0, final=True)
    await world.decide("d1")

    await world.join()

    assert state == "pending_decision"
    assert await rewards_of(world) == [4.0]
    assert await world.forget_early() == 0


async def test_a_reward_whose_decision_never_comes_is_forgotten_and_counted(world: World) -> None:
    """(failure table row 4)"""
    await world.reward("d1", 4.0)
    await world.reward("d1", 5.0)
    await world.reward("d2", 6.0)

    early = await world.forget_early()
    world.now_ms += 120_000
    late = await world.forget_early()

    assert (early, late) == (0, 3)
    assert await world.counts() == {"reward_pending_decision": 3, "orphaned": 3}
    assert await world.client.exists(world.keys.ledger_prefix + "d1") == 0


async def test_a_forgotten_reward_does_not_join_a_decision_that_comes_even_later(
    world: World,
) -> None:
    """(failure table row 4)"""
    await world.reward("d1", 4.0)
    world.now_ms += 120_000
    await world.forget_early()
    await world.decide("d1")

    await world.join(at_ms=world.deadline_ms)

    assert await rewards_of(world) == [-1.0]


async def test_forgetting_leaves_a_decision_that_came_after_all_alone(world: World) -> None:
    """The early reward expired by itself while no worker ran; then the decision came, and a reward."""
    await world.reward("d1", 4.0)
    await world.client.delete(world.keys.ledger_prefix + "d1")
    await world.decide("d1")
    await world.reward("d1", 5.0)

    lost = await world.forget_early()
    world.now_ms += 120_000
    lost += await world.forget_early()
    await world.join()

    assert lost == 0
    assert await rewards_of(world) == [5.0]


async def test_the_buffer_of_early_rewards_is_bounded(redis_url: str) -> None:
    """(failure table row 4)"""
    async with open_world(redis_url, bandit(reward={"wait_s": 60, "early_limit": 2})) as world:
        states = [await world.reward(f"d{at}", 1.0) for at in range(3)]

    assert states == ["pending_decision", "pending_decision", "buffer_full"]


# -- activation (failure table row 6) -------------------------------------------------------------


async def test_a_decision_that_was_never_shown_teaches_nothing(world: World) -> None:
    """(failure table row 6)"""
    await world.decide("d1", activated=False)
    state = await world.reward("d1", 5.0, final=True)

    early = await world.join()
    late = await world.join(at_ms=world.deadline_ms)

    assert (state, early, late) == ("not_activated", 0, 1)
    assert await world.transitions() == []
    assert await world.counts() == {
        "decisions": 1,
        "not_activated": 1,
        "reward_not_activated": 1,
    }


async def test_a_decision_that_is_shown_in_time_joins_the_rewards_that_came_before(
    world: World,
) -> None:
    """(failure table row 6)"""
    await world.decide("d1", activated=False)
    await world.reward("d1", 5.0, final=True)
    await world.join()
    await world.activate("d1")

    await world.join()

    assert await rewards_of(world) == [5.0]


# -- time (failure table row 18) ------------------------------------------------------------------


@pytest.mark.parametrize("days", [-1, 1])
async def test_the_clock_of_a_client_does_not_move_the_window(world: World, days: int) -> None:
    """(failure table row 18)"""
    skewed = datetime.fromtimestamp(START_MS / 1000, UTC) + timedelta(days=days)
    await world.decide("d1")
    state = await world.reward("d1", 3.0, event_time=skewed.isoformat())

    before = await world.join(at_ms=world.deadline_ms - 1)
    after = await world.join(at_ms=START_MS + 60_000)

    assert (state, before, after) == ("joined", 0, 1)
    assert await rewards_of(world) == [3.0]


async def test_what_arrives_out_of_order_joins_all_the_same(world: World) -> None:
    """(failure table row 18): the reward of the second decision comes before both decisions."""
    await world.reward("d2", 2.0, final=True)
    await world.reward("d1", 1.0, final=True)
    await world.decide("d2")
    await world.decide("d1")

    await world.join()

    assert {made.decision_id: made.reward for made in await world.transitions()} == {
        "d1": 1.0,
        "d2": 2.0,
    }


async def test_first_and_last_go_by_the_arrival_here(redis_url: str) -> None:
    """(failure table row 18)"""
    rule = {"wait_s": 60, "aggregation": "first"}
    async with open_world(redis_url, bandit(reward=rule)) as world:
        await world.decide("d1")
        await world.reward("d1", 1.0, event_time="2030-01-01T00:00:00Z")
        world.now_ms += 1
        await world.reward("d1", 2.0, event_time="2001-01-01T00:00:00Z")

        await world.join(at_ms=world.deadline_ms)

        assert await rewards_of(world) == [1.0]


# -- what is not learned --------------------------------------------------------------------------


async def test_logging_only_is_recorded_and_not_learned(world: World) -> None:
    await world.decide("d1", mode="logging_only", baseline_action="a")
    await world.reward("d1", 1.0, final=True)

    await world.join()

    assert await world.transitions() == []
    assert await world.counts() == {"decisions": 1, "reward_joined": 1, "not_learned": 1}


async def test_decisions_of_a_quarantined_version_are_not_learned(world: World) -> None:
    """(failure table row 30)"""
    await world.client.hset(world.keys.meta, "quarantined:2", "1")
    for version in (1, 2, 3):
        await world.decide(f"d{version}", version=version)
        await world.reward(f"d{version}", float(version), final=True)

    await world.join()

    assert sorted(await rewards_of(world)) == [1.0, 3.0]
    assert (await world.counts())["quarantined"] == 1


@pytest.mark.parametrize(("from_shadow", "learned"), [(True, 1), (False, 0)])
async def test_a_shadow_teaches_if_the_policy_says_so(
    redis_url: str, from_shadow: bool, learned: int
) -> None:
    document = bandit(learning={"from_shadow": from_shadow})
    async with open_world(redis_url, document) as world:
        await world.write(world.shadow("s1"))
        await world.write(world.shadow("s2", propensity=None))
        await world.reward("s1", 1.0, final=True)
        await world.reward("s2", 1.0, final=True)

        await world.join()

        made = await world.transitions()
        assert len(made) == learned
        assert [(one.action, one.propensity, one.model_version) for one in made] in (
            [],
            [(1, 0.25, 0)],
        )
        assert (await world.counts())["not_learned"] == 2 - learned


# -- what cannot be read --------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", b"\x00garbage", b"\x93\x01\x02\x03"])
async def test_a_record_that_cannot_be_read_holds_up_nobody(world: World, damage: bytes) -> None:
    """(failure table row 16)"""
    await world.write(world.decision("bad"), body=damage)
    await world.decide("good")
    await world.reward("good", 1.0, final=True)
    await world.reward("bad", 1.0, final=True)

    await world.join()

    assert [made.decision_id for made in await world.transitions()] == ["good"]
    assert await world.counts() == {
        "decisions": 2,
        "reward_joined": 2,
        "rewarded": 1,
        "unreadable": 1,
    }


async def test_a_ledger_that_cannot_be_read_holds_up_nobody(world: World) -> None:
    """(failure table row 16)"""
    await world.decide("bad")
    await world.client.hset(world.keys.ledger_prefix + "bad", "r:x", b"\xc1")
    await world.decide("good")

    await world.join(at_ms=world.deadline_ms)

    assert (await world.state("bad"), await world.state("good")) == ("unreadable", "defaulted")


async def test_a_due_entry_without_a_decision_is_dropped(world: World) -> None:
    await world.client.zadd(world.keys.due, {"ghost": 0})

    await world.join()

    assert await world.client.zcard(world.keys.due) == 0
    assert await world.counts() == {}


@pytest.mark.parametrize("lost", ["catalog", "config"])
async def test_a_decision_whose_catalog_or_configuration_is_gone_is_counted(
    world: World, lost: str
) -> None:
    record = world.decision("d1", catalog=9 if lost == "catalog" else 0)
    if lost == "config":
        await world.client.hdel(world.keys.meta, f"config:{world.config.config_hash}")
    await world.write(record)

    await world.join(at_ms=world.deadline_ms)

    assert await world.state("d1") == "unreadable"


# -- configurations and catalogs of the past ------------------------------------------------------


async def test_ids_mean_what_they_meant_when_the_decision_was_made(redis_url: str) -> None:
    def document(revision: int, vector: list[float]) -> CatalogDocument:
        return CatalogDocument(revision, {"x": CatalogAction(vector=vector)})

    async with open_world(redis_url, featured()) as world:
        for revision, vector in ((1, [1.0, 0.0, 0.0]), (2, [0.0, 0.0, 9.0])):
            catalog = document(revision, vector)
            await world.policies.put_catalog(world.keys, catalog, event={}, keep_ms=60_000)
        about: dict[str, Any] = {"actions": ["x"], "action": "x", "catalog": 1}
        record = world.decision("d1", **about)
        named = msgspec.json.decode(record.request)
        named["observation"] = {"features": {"user": {"age": 40, "tier": "gold"}}}
        request = msgspec.json.encode(named)
        await world.write(msgspec.structs.replace(record, request=request))

        await world.join(at_ms=world.deadline_ms)

        [made] = await world.transitions()
        assert made.actions.features.tolist() == [[1.0, 0.0, 0.0]]


async def test_a_decision_is_encoded_by_the_configuration_that_served_it(redis_url: str) -> None:
    """The policy got longer observations; the decision that waits has the short ones."""
    async with open_world(redis_url, bandit()) as world:
        await world.decide("d1")
        longer = with_agent(bandit(), observation={"kind": "vector", "dim": 5})
        async with open_world(redis_url, longer) as changed:
            await changed.decide("d2", observation=[1.0] * 5)
            await changed.join(at_ms=changed.deadline_ms)

            made = await changed.transitions()
            assert [len(one.state) for one in made] == [2, 5]


# -- exactly once ---------------------------------------------------------------------------------


async def test_two_workers_on_one_backlog_join_every_decision_once(
    world: World, redis_url: str
) -> None:
    for at in range(300):
        await world.decide(f"d{at}")
    at_ms = world.deadline_ms

    async with open_world(redis_url, bandit(reward={"wait_s": 60, "default": -1.0})) as other:
        closed = await asyncio.gather(world.join(at_ms), other.join(at_ms))

    made = [transition.decision_id for transition in await world.transitions()]
    assert sum(closed) == 300
    assert sorted(made) == sorted(f"d{at}" for at in range(300))
    assert await world.counts() == {"decisions": 300, "defaulted": 300}


async def test_a_reward_that_arrives_while_its_decision_is_being_closed_is_not_lost(
    world: World,
) -> None:
    await world.decide("d1")
    [read] = await world.joins.lives(world.keys, [b"d1"])
    await world.reward("d1", 6.0)

    stale = await world.joins.write(world.keys, [Finish(read, "defaulted", b"", b"")], 60_000)
    await world.join(at_ms=world.deadline_ms)

    assert stale == [-1]
    assert await rewards_of(world) == [6.0]


async def test_a_decision_that_becomes_final_while_it_is_being_parked_is_not_parked(
    world: World,
) -> None:
    await world.decide("d1")
    [read] = await world.joins.lives(world.keys, [b"d1"])
    await world.reward("d1", 6.0, final=True)

    stale = await world.joins.write(world.keys, [Park(read, world.deadline_ms, "", None)], 60_000)

    assert stale == [0]
    assert await world.join() == 1


async def test_an_activation_while_a_decision_is_being_closed_is_not_lost(world: World) -> None:
    await world.decide("d1", activated=False)
    [read] = await world.joins.lives(world.keys, [b"d1"])
    await world.activate("d1")

    stale = await world.joins.write(world.keys, [Finish(read, "not_activated", b"", b"")], 60_000)

    assert stale == [-1]


async def test_scripts_that_redis_forgot_are_loaded_again(world: World) -> None:
    await world.decide("d1")
    await world.client.script_flush()

    assert await world.join(at_ms=world.deadline_ms) == 1


async def test_everything_that_was_ever_sent_may_be_sent_again(world: World) -> None:
    """(failure table row 17): the whole log is delivered twice more, and nothing changes."""
    await world.reward("early", 1.0)
    await world.decide("early")
    await world.decide("shown", activated=False)
    await world.decide("hidden", activated=False)
    await world.activate("shown")
    for value, op in ((1.0, "add"), (2.0, "amend"), (3.0, "amend")):
        await world.reward("early", value, reward_id="corrected", op=op)
        world.now_ms += 1
    await world.reward("shown", 5.0, reward_id="taken-back")
    await world.reward("shown", None, reward_id="taken-back", op="retract")
    await world.join(at_ms=world.deadline_ms)
    for value, op in ((8.0, "add"), (9.0, "add")):
        await world.reward("early", value, op=op)
    for value in (6.0, 7.0):
        await world.reward("early", value, reward_id="corrected", op="amend")
        world.now_ms += 1
    await world.decide("open")
    await world.reward("open", 1.0)
    before = await world.dump()
    log: Any = await world.client.xrange(world.keys.log)
    events = [event_of(at, fields) for at, fields in log]

    await world.redeliver(events)
    await world.redeliver(events)
    closed = await world.join()

    assert closed == 0
    assert await world.dump() == before
    assert await rewards_of(world) == [4.0, -1.0]


async def test_joins_wait_while_redis_is_full_and_then_happen_once(world: World) -> None:
    """(failure table row 33)"""
    await world.decide("d1")
    await world.reward("d1", 2.0)
    await world.client.config_set("maxmemory", 1)
    try:
        with pytest.raises(RedisError, match="maxmemory"):
            await world.join(at_ms=world.deadline_ms)
    finally:
        await world.client.config_set("maxmemory", 0)

    closed = await world.join()

    assert closed == 1
    assert await rewards_of(world) == [2.0]
    assert await world.counts() == {"decisions": 1, "reward_joined": 1, "rewarded": 1}


# -- the account ----------------------------------------------------------------------------------

_DONE = {"rewarded", "defaulted", "not_activated", "not_learned", "pending"}
steps = st.lists(
    st.tuples(
        st.sampled_from(["decide", "hide", "log", "reward", "final", "show", "join", "wait"]),
        st.integers(0, 4),
    ),
    max_size=40,
)


@given(steps)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_decision_is_accounted_for_whatever_happens(
    redis_url: str, story: list[tuple[str, int]]
) -> None:
    """decisions = closed, by outcome + pending; learned = rewarded + defaulted = length of replay."""
    await _flush(redis_url)
    async with open_world(redis_url, bandit(reward={"wait_s": 60})) as world:
        for what, number in story:
            name = f"d{number}"
            match what:
                case "decide":
                    await world.decide(name)
                case "hide":
                    await world.decide(name, activated=False)
                case "log":
                    await world.decide(name, mode="logging_only", baseline_action="a")
                case "reward" | "final":
                    await world.reward(name, 1.0, final=what == "final")
                case "show":
                    await world.activate(name)
                case "join":
                    await world.join()
                case "wait":
                    world.now_ms += 30_000

        counts = await world.counts()
        made = await world.transitions()
        assert counts.get("decisions", 0) == sum(counts.get(name, 0) for name in _DONE)
        assert len(made) == counts.get("rewarded", 0) + counts.get("defaulted", 0)
        assert len({transition.decision_id for transition in made}) == len(made)


async def _flush(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as client:
        await client.flushall()
