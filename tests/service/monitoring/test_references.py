"""What windows are compared with: collected once, frozen, and found again by the next worker."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from service.monitoring.kept import read_kept
from service.monitoring.references import MAKING, Collector
from service.monitoring.watching import Watching
from service.policies.config import parse_policy
from service.replay.codec import encode_transition
from service.replay.repository import ReplayRepository
from tests.support.log_events import START_MS, decisions, outcomes
from tests.support.policies import bandit
from tests.support.transitions import a_transition
from tests.support.watched import Stage

_SMALL = {"window": 50, "reference": 200, "baseline_window": 100, "samples_per_s": 1_000}


async def _stage(client: Redis, **changes: Any) -> Stage:
    stage = Stage(client, bandit(monitoring=_SMALL | changes))
    await stage.register()
    return stage


def _usual(stage: Stage, count: int, seed: int = 0, **changes: Any) -> list[Any]:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, 2))
    return decisions(rows, random, config_hash=stage.config.config_hash, **changes)


async def test_the_first_decisions_are_the_reference_and_stay_it(redis_client: Redis) -> None:
    stage = await _stage(redis_client)
    await stage.feed(_usual(stage, 250))
    frozen = await stage.monitoring.reference(stage.keys, 1, "")

    await stage.feed(_usual(stage, 250, seed=1, begin_ms=START_MS + 60_000))

    assert frozen.states is not None
    assert await stage.monitoring.reference(stage.keys, 1, "") == frozen
    assert await stage.monitoring.rows(stage.keys, 1) == []


async def test_states_may_be_compared_with_what_the_policy_was_trained_on(
    redis_client: Redis,
) -> None:
    stage = await _stage(redis_client, reference_of="training")
    random = np.random.default_rng(0)
    for state in random.normal(5.0, size=(200, 2)).astype(np.float32):
        entry = encode_transition(a_transition(state=state), stage.config.transition_schema)
        await redis_client.xadd(stage.keys.replay, {"b": entry})
    await redis_client.hset(stage.keys.counts, "rewarded", "200")

    await stage.feed(_usual(stage, 250))

    assert (await stage.view()).reference.states == 200
    assert await stage.levels() == {"states": "warning"}


async def test_decisions_stand_in_for_training_on_other_features(redis_client: Redis) -> None:
    stage = await _stage(redis_client, reference_of="training")
    for _ in range(200):
        entry = encode_transition(a_transition(), "f:other")
        await redis_client.xadd(stage.keys.replay, {"b": entry})
    await redis_client.hset(stage.keys.counts, "rewarded", "200")

    await stage.feed(_usual(stage, 350))

    assert (await stage.view()).reference.states == 200
    assert await stage.levels() == {}


async def test_a_reference_of_another_program_is_forgotten(redis_client: Redis) -> None:
    stage = await _stage(redis_client)
    name = f"{stage.keys.reference_prefix}1"
    watching = Watching(stage.config, read_kept(b"", stage.config))
    await redis_client.hset(name, "states", b"\xc1")
    collector = Collector(stage.monitoring, ReplayRepository(redis_client), stage.keys, 1)

    await collector.load(watching)

    assert collector.references.states is None
    assert await redis_client.exists(name) == 0


async def test_a_guard_more_begins_the_baseline_anew(redis_client: Redis) -> None:
    stage = await _stage(redis_client)
    await stage.feed(outcomes([0.0, 1.0] * 60))
    assert (await stage.view()).reference.baseline == 0.5

    stage.config = parse_policy(
        bandit(monitoring=_SMALL, reward={"wait_s": 60, "guards": ["complaint"]})
    )
    await stage.feed(outcomes([1.0] * 50, begin_ms=START_MS + 10_000))
    assert (await stage.view()).reference.baseline is None
    await stage.feed(outcomes([1.0] * 150, begin_ms=START_MS + 20_000))

    assert (await stage.view()).reference.baseline == 1.0


async def test_sums_of_another_program_are_let_go(redis_client: Redis) -> None:
    stage = await _stage(redis_client)
    await stage.feed(outcomes([0.0, 1.0] * 20))
    states: Any = await redis_client.hgetall(stage.keys.following)
    kept = states[b"state:monitoring"].replace(b"reward_sketch", b"reward_ketchs")
    await redis_client.hset(stage.keys.following, "state:monitoring", kept)

    stage.follower = stage.new_worker()
    await stage.feed(outcomes([1.0] * 30, begin_ms=START_MS + 10_000))

    assert (await stage.view()).waiting["outcomes"] == 30


async def test_decisions_whose_configuration_is_gone_are_not_compared(redis_client: Redis) -> None:
    stage = await _stage(redis_client)
    random = np.random.default_rng(0)

    await stage.feed(decisions(random.normal(size=(300, 2)), random, config_hash="c:gone"))

    assert (await stage.view()).reference.states is None


async def test_another_version_line_has_a_reference_of_its_own(redis_client: Redis) -> None:
    stage = await _stage(redis_client)
    await stage.feed(outcomes([0.0, 1.0] * 60))
    assert (await stage.view()).reference.baseline == 0.5

    await stage.register()
    await stage.turn()
    await stage.feed(outcomes([1.0] * 120, begin_ms=START_MS + 60_000))

    view = await stage.view()
    assert view.reference.lineage == 2
    assert view.reference.baseline == 1.0


def _gauge(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"policy": "home"} | labels)


async def test_what_is_judged_is_also_told_to_prometheus(redis_client: Redis) -> None:
    stage = await _stage(redis_client)
    before = _gauge("nacre_arm_rewards_total", arm="live") or 0.0
    await stage.feed(outcomes([0.0, 1.0] * 60))
    await stage.feed(_usual(stage, 250))

    await stage.feed(outcomes([0.0] * 100, begin_ms=START_MS + 60_000, delay_ms=2_000))

    assert _gauge("nacre_reward_baseline") == pytest.approx(0.5)
    assert _gauge("nacre_reward_mean") == 0.0
    assert _gauge("nacre_reward_quantile", quantile="0.5") == 0.0
    assert _gauge("nacre_arm_rewards_total", arm="live") == before + 220
    assert _gauge("nacre_join_share", outcome="rewarded") == 1.0
    assert _gauge("nacre_alarm", signal="reward", level="warning") == 1.0
    assert _gauge("nacre_drift_p_value", kind="mmd") is not None
    assert _gauge("nacre_entropy_share") == pytest.approx(1.0)
    assert _gauge("nacre_importance_weight_mean") == pytest.approx(1.0)
    assert _gauge("nacre_fallback_active") == 0.0


async def test_nobody_waits_while_a_reference_is_made(redis_client: Redis) -> None:
    stage = await _stage(redis_client)
    await stage.write(_usual(stage, 250))

    await stage.follower.follow(await stage.watched(), stage.now_ms + 1_000)
    assert (await stage.view()).reference.states is None
    assert any(task.get_name() == MAKING for task in asyncio.all_tasks())

    await stage.turn(3_000)
    assert (await stage.view()).reference.states == 250
