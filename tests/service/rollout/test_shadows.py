"""Candidates score logged decisions in the worker: how often they agree, and what they would have earned."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from service.archive.logic import StreamId
from service.following.follower import Follower
from service.following.observer import LogEvent
from service.following.repository import FollowingRepository
from service.joining.logic import JoinedEvent
from service.rollout import shadows
from service.rollout.candidates import Candidates
from service.rollout.shadow_sums import ShadowView, read_state
from service.rollout.shadows import Budget, Shadows
from tests.support.policies import steering
from tests.support.rollouts import Stage
from tests.support.served import neural

Open = Callable[..., Awaitable[Stage]]
ACTIONS = ["a", "b", "c"]


@pytest.fixture
def open_stage(redis_client: Redis, tmp_path: Path, api: httpx.AsyncClient) -> Open:
    """A served policy with candidates, and a worker with shadows only."""

    async def opened(candidates: int = 1, **rule: Any) -> Stage:
        stage = Stage(redis_client, tmp_path, neural(rollout={"shadow_cpu": 1.0} | rule))
        opener = shadows.opener(stage.policies, stage.artefacts)
        repository = FollowingRepository(stage.client)
        stage.follower = Follower(repository, {shadows.NAME: opener})
        await stage.register()
        for _ in range(candidates):
            await stage.publish()
        await stage.turn()
        await api.put("/v1/policies/home", json=neural(rollout={"shadow_cpu": 1.0} | rule))
        return stage

    return opened


async def decide(api: httpx.AsyncClient, count: int, **about: Any) -> list[dict[str, Any]]:
    answers = []
    for at in range(count):
        body = {"observation": {"vector": [at % 5, 1.0]}, "actions": ACTIONS, "policy": "home"}
        answers.append((await api.post("/v1/act", json=body | about)).json())
    return answers


async def reward(stage: Stage, decisions: list[dict[str, Any]], value: float = 1.0) -> None:
    for one in decisions:
        body = msgspec.msgpack.encode(JoinedEvent("rewarded", value, 0.0, 1, "live", stage.now_ms))
        fields: Any = {"t": "joined", "d": one["decision_id"], "b": body}
        await stage.client.xadd(stage.keys.log, fields)


async def views(stage: Stage) -> list[ShadowView]:
    _, states = await FollowingRepository(stage.client).load(stage.keys)
    return read_state(states[shadows.NAME]).views("home")


async def test_a_candidate_is_asked_about_every_decision(
    api: httpx.AsyncClient, open_stage: Open
) -> None:
    stage = await open_stage()
    made = await decide(api, 30)

    await stage.turn()
    await reward(stage, made[:20])
    await stage.turn()

    [view] = (await api.get("/v1/policies/home/shadows")).json()["shadows"]
    assert (view["model_version"], view["group"]) == ("home@2", "online")
    assert (view["scored"], view["rewarded"]) == (30, 20)
    assert 0 < view["mean_probability"] < 1
    assert 0 <= view["match_rate"] <= 1
    assert view["logged"] == 1.0
    assert view["lift"] == pytest.approx(0.0)  # whatever it does earns 1
    labels = {"policy": "home", "version_slot": "0"}
    assert (await api.get("/v1/policies/home/rollout")).json()["shadows"] == [view]
    assert REGISTRY.get_sample_value("nacre_shadow_scored_total", {"policy": "home"})
    stage.now_ms += 10_000
    await stage.turn()
    assert REGISTRY.get_sample_value("nacre_shadow_match", labels) == view["match_rate"]


async def test_the_newest_candidates_are_asked_and_the_one_on_its_way(
    api: httpx.AsyncClient, open_stage: Open
) -> None:
    stage = await open_stage(candidates=4, shadow_versions=2)
    await stage.start(2)
    stage.now_ms += 10_000
    await stage.turn()
    await decide(api, 3)
    await stage.turn()
    await reward(stage, [{"decision_id": "unknown"}])
    await stage.turn()

    assert [one.model_version for one in await views(stage)] == ["home@5", "home@4", "home@2"]


async def test_in_apprentice_mode_it_is_compared_with_the_baseline(
    api: httpx.AsyncClient, open_stage: Open
) -> None:
    stage = await open_stage()
    made = await decide(api, 20, mode="apprentice", baseline_action="b")
    await decide(api, 5, mode="logging_only", baseline_action="b")

    await stage.turn()
    await reward(stage, made)
    await stage.turn()

    [view] = await views(stage)
    assert (view.group, view.scored, view.rewarded) == ("apprentice", 20, 20)
    assert view.match_rate is not None
    # The baseline is certain, so the ratio is the probability of doing the same.
    assert view.mean_weight == pytest.approx(view.mean_probability)


async def test_a_reward_that_is_there_before_the_score_counts(
    api: httpx.AsyncClient, open_stage: Open
) -> None:
    stage = await open_stage()
    made = await decide(api, 10)
    await reward(stage, made)

    await stage.turn()
    await reward(stage, [{"decision_id": "unknown"}])
    await stage.turn()

    [view] = await views(stage)
    assert (view.scored, view.rewarded) == (10, 10)


async def test_decisions_before_the_candidate_say_nothing_about_it(
    api: httpx.AsyncClient, open_stage: Open
) -> None:
    stage = await open_stage(candidates=0)
    stage.now_ms = 10**13  # it is made after all decisions
    await stage.publish()
    await stage.turn(10_000)
    await decide(api, 5)

    await stage.turn()
    await reward(stage, [{"decision_id": "unknown"}])
    await stage.turn()

    assert await views(stage) == []


async def test_a_version_that_cannot_be_loaded_is_left_out(
    api: httpx.AsyncClient, open_stage: Open, tmp_path: Path
) -> None:
    stage = await open_stage(candidates=0)
    await stage.publish()
    await stage.publish()
    (tmp_path / "artefacts" / "home" / "2" / "manifest.json").write_bytes(b"{}")
    await stage.turn(10_000)
    await decide(api, 3)

    await stage.turn()
    await reward(stage, [{"decision_id": "unknown"}])
    await stage.turn()

    assert [one.model_version for one in await views(stage)] == ["home@3"]


async def test_continuous_actions_have_no_shadows(redis_client: Redis, tmp_path: Path) -> None:
    stage = Stage(redis_client, tmp_path, steering())
    await stage.register()

    assert shadows.opener(stage.policies, stage.artefacts)(await stage.watched(), b"") is None


# -- what it may cost -------------------------------------------------------------------------------


async def test_what_there_is_no_time_for_is_skipped_and_counted(
    api: httpx.AsyncClient, open_stage: Open
) -> None:
    """A clock of the processor that passes 20 ms with each look at it: two decisions in a turn of 50 ms."""
    stage = await open_stage()
    made = await decide(api, 5)
    entries: Any = await stage.client.xrange(stage.keys.log)
    bodies = [fields[b"b"] for _, fields in entries if fields[b"t"] == b"decision"]
    ticks = iter(range(10_000))
    observer = Shadows(Candidates(stage.policies, stage.artefacts), b"", lambda: next(ticks) * 0.02)

    observer.take(
        [
            LogEvent(StreamId(1, at), "decision", str(at), bodies[at % len(made)])
            for at in range(300)
        ]
    )
    await observer.act(await stage.watched(), stage.now_ms)
    state = read_state(observer.state())

    assert state.skipped == 300 - 256
    assert [one.scored for one in state.views("home")] == [2]


def test_the_budget_is_a_share_of_the_time_and_is_not_saved_up() -> None:
    budget = Budget()

    at_first = budget.at(1_000_000, 0.1)
    budget.spend(0.05)
    after_100_ms = budget.at(1_000_100, 0.1)
    budget.spend(0.03)
    in_debt = budget.at(1_000_110, 0.1)
    after_an_hour = budget.at(4_600_000, 0.1)

    assert at_first == pytest.approx(0.05)
    assert after_100_ms == pytest.approx(0.01)
    assert in_debt == pytest.approx(-0.019)
    assert after_an_hour == pytest.approx(0.05)
