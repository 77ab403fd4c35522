"""A policy that trips by what its log says, and comes back: real Redis, the worker's own code, a clock of the test."""

from __future__ import annotations

from typing import Any

import numpy as np
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from service.evaluation.repository import EvaluationRepository
from service.evaluation.schemas import EvaluationRequest
from service.learning.repository import LearningRepository
from service.policies.config import parse_policy
from service.policies.head import Trip
from service.trips import runner
from tests.service.rollout.reports import report as evaluated
from tests.support.log_events import START_MS, decision, decisions, outcome, outcomes, reward
from tests.support.policies import bandit
from tests.support.watched import Stage

_SMALL = {"window": 100, "reference": 400, "baseline_window": 400, "samples_per_s": 1_000}


async def _stage(client: Redis, **changes: Any) -> Stage:
    stage = Stage(client, bandit(monitoring=_SMALL | changes.pop("monitoring", {}), **changes))
    await stage.register()
    return stage


def _clicks(rate: float, count: int, seed: int = 0) -> list[float]:
    return [float(one < rate) for one in np.random.default_rng(seed).random(count)]


async def test_a_broken_reward_feed_trips_and_the_declared_rule_ends_it(
    redis_client: Redis,
) -> None:
    stage = await _stage(redis_client, trips={"reward": {}, "recover_s": 60})
    assert await stage.feed(outcomes(_clicks(0.5, 600))) is None

    trip = await stage.feed(outcomes([0.0] * 400, begin_ms=START_MS + 10_000))

    assert trip is not None
    assert trip.signal == "reward"
    assert trip.version == 0
    assert (await stage.levels())["reward"] == "trip"
    assert await stage.turn(59_000 - (stage.now_ms - trip.at_ms)) is not None
    assert await stage.turn(2_000) is None
    await stage.turn()
    assert "reward" not in await stage.levels()
    assert stage.events()[-2:] == ["trip.ended", "alarm.ended"]


async def test_a_policy_may_recover_once_its_fallback_was_well_for_some_windows(
    redis_client: Redis,
) -> None:
    stage = await _stage(redis_client, trips={"reward": {}, "recover_windows": 3})
    await stage.feed(outcomes(_clicks(0.5, 600)))
    tripped = await stage.feed(outcomes([0.0] * 500, begin_ms=START_MS + 10_000))
    assert tripped is not None
    later = stage.now_ms + 10_000

    still = await stage.feed(outcomes([0.0] * 100, begin_ms=later, arm="fallback"))
    assert still is not None
    still = await stage.feed(outcomes(_clicks(0.5, 200), begin_ms=later + 5_000, arm="fallback"))
    assert still is not None
    await stage.feed(outcomes(_clicks(0.5, 100), begin_ms=later + 9_000, arm="fallback"))

    assert await stage.turn() is None


async def test_the_version_before_the_live_one_serves_where_that_is_declared(
    redis_client: Redis,
) -> None:
    stage = await _stage(redis_client, trips={"reward": {}, "serve": "previous"})
    await stage.feed(outcomes(_clicks(0.5, 600)))

    trip = await stage.feed(outcomes([0.0] * 400, begin_ms=START_MS + 10_000))

    assert trip is not None
    assert trip.version == 1


async def test_a_version_that_was_left_because_it_did_harm_stands_in_for_nothing(
    redis_client: Redis,
) -> None:
    stage = await _stage(redis_client, trips={"reward": {}, "serve": "previous"})
    await redis_client.hset(stage.keys.meta, "quarantined:1", "1")
    await stage.feed(outcomes(_clicks(0.5, 600)))

    trip = await stage.feed(outcomes([0.0] * 400, begin_ms=START_MS + 10_000))

    assert trip is not None
    assert trip.version == 0


async def test_what_a_new_declaration_does_not_alarm_any_more_has_ended(
    redis_client: Redis,
) -> None:
    rule = {"spend": {"budget": 0.1}}
    stage = await _stage(redis_client, trips={"constraints": rule})
    await stage.feed(outcomes([1.0] * 100, cost=0.12))
    await stage.feed(outcomes([1.0] * 100, cost=0.12, begin_ms=START_MS + 5_000))
    assert await stage.levels() == {"constraint:spend": "warning"}

    stage.config = parse_policy(bandit(monitoring=_SMALL))
    await stage.turn()

    assert await stage.levels() == {}
    assert stage.events() == ["alarm.raised", "alarm.ended"]
    shown = {"policy": "home", "constraint": "spend"}
    assert REGISTRY.get_sample_value("nacre_safety_e_value", shown) is None
    raised = {"policy": "home", "signal": "constraint:spend", "level": "warning"}
    assert REGISTRY.get_sample_value("nacre_alarm", raised) == 0


async def test_rewards_of_decisions_from_before_the_recovery_do_not_trip_again(
    redis_client: Redis,
) -> None:
    stage = await _stage(redis_client, trips={"reward": {}, "recover_s": 10})
    await stage.feed(outcomes(_clicks(0.5, 600)))
    await stage.feed(outcomes([0.0] * 400, begin_ms=START_MS + 10_000))
    await stage.turn(20_000)
    assert await stage.turn() is None

    late = outcomes([0.0] * 600, begin_ms=stage.now_ms, made_ms=START_MS)

    assert await stage.feed(late) is None


async def test_a_canary_that_earns_nothing_does_not_trip_the_policy(redis_client: Redis) -> None:
    stage = await _stage(redis_client, trips={"reward": {}})
    await stage.feed(outcomes(_clicks(0.5, 600)))

    both = [
        one
        for at in range(600)
        for one in (
            outcome(START_MS + 10_000 + at, float(at % 2)),
            outcome(START_MS + 10_000 + at, 0.0, arm="canary"),
        )
    ]

    assert await stage.feed(both) is None


async def test_a_broken_budget_trips(redis_client: Redis) -> None:
    stage = await _stage(redis_client, trips={"constraints": {"spend": {"budget": 0.1}}})

    trip = await stage.feed(outcomes([1.0] * 200, cost=0.4))

    assert trip is not None
    assert trip.signal == "constraint:spend"


async def test_one_decision_above_the_hard_limit_trips_before_it_is_joined(
    redis_client: Redis,
) -> None:
    rule = {"spend": {"budget": 0.1, "most": 0.9}}
    stage = await _stage(redis_client, trips={"constraints": rule})
    made = decision(START_MS, [0, 0], decision_id="d1")

    trip = await stage.feed([made, reward(START_MS + 1, "d1", cost=0.95)])

    assert trip is not None
    assert trip.signal == "constraint:spend"
    assert "0.95" in trip.why


async def test_a_hard_limit_holds_for_a_reward_that_came_before_its_decision(
    redis_client: Redis,
) -> None:
    rule = {"spend": {"budget": 0.1, "most": 0.9}}
    stage = await _stage(redis_client, trips={"constraints": rule})
    assert await stage.feed([reward(START_MS, "d", cost=0.95)]) is None
    made = decision(START_MS + 1, [0, 0], decision_id="d")

    trip = await stage.feed([made, outcome(START_MS + 2_000, 1.0, cost=0.95)])

    assert trip is not None
    assert trip.signal == "constraint:spend"


async def test_a_reward_that_is_taken_back_breaks_no_limit(redis_client: Redis) -> None:
    rule = {"spend": {"budget": 0.1, "most": 0.9}}
    stage = await _stage(redis_client, trips={"constraints": rule})
    made = decision(START_MS, [0, 0], decision_id="d1")

    assert await stage.feed([made, reward(START_MS + 1, "d1", "retract", cost=0.95)]) is None


async def test_the_hard_limit_of_another_arm_does_not_trip(redis_client: Redis) -> None:
    rule = {"spend": {"budget": 0.1, "most": 0.9}}
    stage = await _stage(redis_client, trips={"constraints": rule})
    made = decision(START_MS, [0, 0], decision_id="d1", arm="canary")

    assert await stage.feed([made, reward(START_MS + 1, "d1", cost=0.95)]) is None


async def test_states_unlike_the_first_ones_alarm_and_trip(redis_client: Redis) -> None:
    random = np.random.default_rng(0)
    stage = await _stage(redis_client, trips={"state": {}})
    name = stage.config.config_hash
    usual = decisions(random.normal(size=(700, 2)), random, config_hash=name)
    assert await stage.feed(usual) is None
    assert (await stage.view()).reference.states == 400
    assert await stage.levels() == {}

    strange = random.normal(1.5, size=(400, 2))
    begin_ms = START_MS + 100_000
    trip = await stage.feed(decisions(strange, random, config_hash=name, begin_ms=begin_ms))

    assert trip is not None
    assert trip.signal == "states"
    assert [(one.signal, one.level) for one in await stage.changes()] == [
        ("states", "warning"),
        ("states", "trip"),
    ]


async def test_another_worker_goes_on_where_the_last_one_died(redis_client: Redis) -> None:
    stage = await _stage(redis_client, trips={"reward": {}})
    await stage.feed(outcomes(_clicks(0.5, 450)))
    before = await stage.view()

    stage.follower = stage.new_worker()
    await stage.feed(outcomes(_clicks(0.5, 150), begin_ms=START_MS + 5_000))
    stage.follower = stage.new_worker()
    trip = await stage.feed(outcomes([0.0] * 300, begin_ms=START_MS + 10_000))

    assert before.reference.outcomes == 400
    assert (await stage.view()).reference.baseline == before.reference.baseline
    assert trip is not None


async def test_a_trip_by_a_person_ends_only_by_a_person(redis_client: Redis) -> None:
    stage = await _stage(redis_client, trips={"recover_s": 1, "recover_windows": 1})
    by_hand = Trip(trip_id="t", signal="person", why="look into it", at_ms=stage.now_ms)
    await runner.trip(stage.policies, stage.keys, await stage.meta(), by_hand, "ana")
    await stage.turn(100_000)

    assert await stage.turn(100_000) is not None
    assert stage.events() == ["trip.began"]


async def test_a_recovery_that_comes_before_the_next_look_holds(redis_client: Redis) -> None:
    rule = {"spend": {"budget": 0.1, "most": 0.9}}
    stage = await _stage(redis_client, trips={"constraints": rule})
    made = decision(START_MS, [0, 0], decision_id="d1")
    trip = await stage.feed([made, reward(START_MS + 1, "d1", cost=0.95)])
    assert trip is not None

    await runner.recover(
        stage.policies, stage.keys, await stage.meta(), trip,
        who="ana", how="person", why="it was a refund", now_ms=stage.now_ms,
    )  # fmt: skip

    assert await stage.turn() is None
    assert await stage.levels() == {}
    assert stage.events() == ["alarm.raised", "trip.began", "trip.ended", "alarm.ended"]


async def test_of_two_who_recover_a_policy_one_does(redis_client: Redis) -> None:
    stage = await _stage(redis_client)
    trip = Trip(trip_id="t", signal="person", why="look into it", at_ms=stage.now_ms)
    await runner.trip(stage.policies, stage.keys, await stage.meta(), trip, "ana")
    meta = await stage.meta()

    done = [
        await runner.recover(
            stage.policies, stage.keys, meta, trip, who=who, how="person", why="well", now_ms=1
        )
        for who in ("ana", "ben")
    ]

    assert done == [True, False]


async def test_drift_asks_for_a_candidate_once_and_never_for_a_swap(redis_client: Redis) -> None:
    random = np.random.default_rng(0)
    stage = await _stage(redis_client, monitoring={"retrain": {"drift_windows": 2}})
    name = stage.config.config_hash
    await stage.feed(decisions(random.normal(size=(500, 2)), random, config_hash=name))

    strange = random.normal(1.5, size=(600, 2))
    begin_ms = START_MS + 100_000
    await stage.feed(decisions(strange, random, config_hash=name, begin_ms=begin_ms))

    found = await LearningRepository(redis_client).current(stage.keys)
    assert found is not None
    assert found[0].promote != "live"
    assert stage.events().count("retraining.asked") == 1
    assert (await stage.meta()).live == 2


async def test_a_log_that_is_worth_little_for_the_live_version_asks_for_a_candidate(
    redis_client: Redis,
) -> None:
    stage = await _stage(redis_client, monitoring={"retrain": {"effective_share": 0.1}})
    evaluations = EvaluationRepository(redis_client)
    asked = EvaluationRequest(target="home@2", policy="home")
    job_id = await evaluations.ask(stage.keys, asked, "test")
    await evaluations.begin(stage.keys, job_id)
    await stage.turn()
    assert await LearningRepository(redis_client).current(stage.keys) is None

    await evaluations.report(
        stage.keys, job_id, evaluated("better", rows=1_000, effective_rows=50.0)
    )
    await stage.turn(10_000)

    assert await LearningRepository(redis_client).current(stage.keys) is not None


async def test_what_is_seen_now_may_be_declared_to_be_the_reference(redis_client: Redis) -> None:
    stage = await _stage(redis_client)
    await stage.feed(outcomes(_clicks(0.8, 600)))
    await stage.feed(outcomes(_clicks(0.4, 400), begin_ms=START_MS + 10_000))
    assert await stage.levels() == {"reward": "warning"}

    event = {"what": "forget", "who": "ana", "why": "prices went up", "at": ""}
    await stage.monitoring.ask_to_forget(stage.keys, event)
    await stage.feed(outcomes(_clicks(0.4, 500), begin_ms=START_MS + 20_000))

    assert await stage.levels() == {}
    baseline = (await stage.view()).reference.baseline
    assert baseline is not None
    assert abs(baseline - 0.4) < 0.1
