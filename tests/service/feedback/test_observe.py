"""POST /v1/observe and what surrounds it, over the whole application and a real Redis."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from agent_core.types import Transition
from service.replay.codec import decode_transition
from service.repository import PolicyKeys
from tests.service.conftest import Put
from tests.support.policies import bandit, featured, sequential, with_agent

BODY: dict[str, Any] = {"observation": {"vector": [1.0, 2.0]}, "actions": ["a", "b", "c"]}


async def act(api: httpx.AsyncClient, decision_id: str, **changes: Any) -> dict[str, Any]:
    response = await api.post("/v1/act", json=BODY | {"decision_id": decision_id} | changes)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def observe(api: httpx.AsyncClient, decision_id: str, **fields: Any) -> httpx.Response:
    return await api.post("/v1/observe", json={"decision_id": decision_id} | fields)


async def state_of(
    api: httpx.AsyncClient, decision_id: str, **fields: Any
) -> tuple[str, float | None]:
    response = await observe(api, decision_id, **fields)
    assert response.status_code == 202, response.text
    result = response.json()["results"][0]
    return result["state"], result.get("reward_so_far")


async def life(api: httpx.AsyncClient, decision_id: str) -> dict[str, Any]:
    response = await api.get(f"/v1/decisions/{decision_id}")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def test_rewards_with_ids_of_their_own_add_up(api: httpx.AsyncClient, put: Put) -> None:
    await put(bandit())
    await act(api, "d")

    assert await state_of(api, "d", reward=1.0, reward_id="click") == ("joined", 1.0)
    assert await state_of(api, "d", reward=0.5, reward_id="like") == ("joined", 1.5)


async def test_the_same_reward_many_times_at_once_counts_once(
    api: httpx.AsyncClient, put: Put
) -> None:
    """Failure table row 1."""
    await put(bandit())
    await act(api, "d")

    states = await asyncio.gather(
        *[state_of(api, "d", reward=1.0, reward_id="r") for _ in range(200)]
    )

    assert sorted(state for state, _ in states) == ["duplicate"] * 199 + ["joined"]
    assert {so_far for _, so_far in states} == {1.0}


async def test_the_same_reward_id_with_another_value_is_refused(
    api: httpx.AsyncClient, put: Put
) -> None:
    """Failure table row 2."""
    await put(bandit())
    await act(api, "d")
    await state_of(api, "d", reward=1.0, reward_id="r")

    refused = await observe(api, "d", reward=2.0, reward_id="r")

    assert (refused.status_code, refused.json()["code"]) == (422, "RewardConflict")
    assert "amend" in refused.json()["detail"]
    assert await state_of(api, "d", reward=1.0, reward_id="r") == ("duplicate", 1.0)


async def test_amend_corrects_and_a_late_retry_of_the_original_is_superseded(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(bandit())
    await act(api, "d")
    await state_of(api, "d", reward=1.0, reward_id="r")

    assert await state_of(api, "d", reward=3.0, reward_id="r", op="amend") == ("joined", 3.0)
    assert await state_of(api, "d", reward=1.0, reward_id="r") == ("superseded", 3.0)
    assert await state_of(api, "d", reward=3.0, reward_id="r", op="amend") == ("duplicate", 3.0)


async def test_retract_takes_a_reward_back(api: httpx.AsyncClient, put: Put) -> None:
    await put(bandit())
    await act(api, "d")
    await state_of(api, "d", reward=1.0, reward_id="r")

    assert await state_of(api, "d", reward_id="r", op="retract") == ("joined", None)
    assert await state_of(api, "d", reward=1.0, reward_id="r") == ("superseded", None)


async def test_what_was_never_there_cannot_be_amended(api: httpx.AsyncClient, put: Put) -> None:
    await put(bandit())
    await act(api, "d")

    refused = await observe(api, "d", reward=1.0, reward_id="r", op="amend")

    assert (refused.status_code, refused.json()["code"]) == (422, "UnknownReward")


async def test_a_reward_may_come_before_its_decision(api: httpx.AsyncClient, put: Put) -> None:
    """Failure table row 4."""
    await put(bandit())

    assert await state_of(api, "d", reward=1.0, reward_id="r") == ("pending_decision", 1.0)
    await act(api, "d")

    assert await state_of(api, "d", reward=1.0, reward_id="r") == ("duplicate", 1.0)
    assert [reward["value"] for reward in (await life(api, "d"))["rewards"]] == [1.0]


async def test_early_rewards_are_bounded(api: httpx.AsyncClient, put: Put) -> None:
    """Failure table rows 4 and 14."""
    await put(bandit(reward={"wait_s": 60, "early_limit": 3}))
    for n in range(3):
        await state_of(api, f"d{n}", reward=1.0)

    refused = await observe(api, "d3", reward=1.0)

    assert (refused.status_code, refused.json()["code"]) == (503, "Overloaded")
    assert refused.headers["retry-after"]
    assert await state_of(api, "d0", reward=2.0, reward_id="more") == ("pending_decision", 3.0)


async def test_a_deferred_decision_waits_for_its_activation(
    api: httpx.AsyncClient, put: Put
) -> None:
    """Failure table row 6."""
    await put(bandit())
    await act(api, "d", defer_activation=True)

    assert (await state_of(api, "d", reward=1.0))[0] == "not_activated"
    assert (await api.post("/v1/decisions/d/activate")).status_code == 204
    assert (await api.post("/v1/decisions/d/activate")).status_code == 204
    assert await state_of(api, "d", reward=1.0, reward_id="more") == ("joined", 2.0)
    assert (await life(api, "d"))["activated"] is True


async def test_named_components_are_weighted_and_kept(api: httpx.AsyncClient, put: Put) -> None:
    await put(featured())
    body = {
        "decision_id": "d",
        "observation": {"features": {"user": {"age": 1, "tier": "gold"}}},
        "actions": [{"id": "x", "vector": [1, 2, 3]}],
    }
    assert (await api.post("/v1/act", json=body)).status_code == 200

    # 1 click at 1.0 and 20 s at 0.1 each: 3.0
    assert await state_of(api, "d", components={"click": 1, "dwell_s": 20}) == ("joined", 3.0)
    assert (await life(api, "d"))["rewards"][0]["components"] == {"click": 1.0, "dwell_s": 20.0}

    refused = await observe(api, "d", components={"cilck": 1}, reward_id="other")
    assert refused.json()["errors"][0]["pointer"] == "/components/cilck"


# -- limits and guards --------------------------------------------------------------------------

LIMITED: dict[str, Any] = {
    "wait_s": 60,
    "components": {"click": 1.0, "dwell_s": 0.5},
    "guards": ["complaints"],
    "bounds": {"dwell_s": [0, 20], "complaints": [0, 5]},
    "range": [-1, 4],
}


def counted(state: str) -> float:
    return REGISTRY.get_sample_value("nacre_rewards_total", {"state": state}) or 0.0


@pytest.mark.parametrize(
    ("fields", "pointer", "declared"),
    [
        ({"reward": 4.5}, "/reward", "reward.range"),
        ({"reward": 4.5, "op": "amend"}, "/reward", "reward.range"),
        ({"components": {"dwell_s": -1}}, "/components/dwell_s", "reward.bounds.dwell_s"),
        ({"components": {"complaints": 6}}, "/components/complaints", "reward.bounds.complaints"),
        # 1 click and 8 s at 0.5 each: 5.0, each part within its own bounds
        ({"components": {"click": 1, "dwell_s": 8}}, "/components", "reward.range"),
    ],
)
async def test_a_reward_outside_its_declared_limits_is_refused_with_the_remedy_and_counted(
    api: httpx.AsyncClient, put: Put, fields: dict[str, Any], pointer: str, declared: str
) -> None:
    await put(bandit(reward=LIMITED))
    await act(api, "d")
    before = counted("out_of_range"), counted("rejected")

    refused = await observe(api, "d", **fields)

    assert (refused.status_code, refused.json()["code"]) == (422, "OutOfRange")
    [error] = refused.json()["errors"]
    assert (error["pointer"], error["code"]) == (pointer, "out_of_range")
    assert f"`{declared}`" in error["detail"]
    assert (counted("out_of_range"), counted("rejected")) == (before[0] + 1, before[1])
    assert (await life(api, "d"))["rewards"] == []


async def test_limits_are_included_in_what_they_allow(api: httpx.AsyncClient, put: Put) -> None:
    await put(bandit(reward=LIMITED))
    await act(api, "d")

    assert await state_of(api, "d", reward=-1.0, reward_id="low") == ("joined", -1.0)
    assert await state_of(api, "d", reward=4.0, reward_id="high") == ("joined", 3.0)
    assert (await state_of(api, "d", components={"complaints": 5}, reward_id="g"))[0] == "joined"


async def test_a_value_outside_costs_a_batch_only_itself(api: httpx.AsyncClient, put: Put) -> None:
    await put(bandit(reward=LIMITED))
    await act(api, "d")
    before = counted("out_of_range"), counted("rejected")
    rewards = [
        {"decision_id": "d", "reward": 1.0, "reward_id": "a"},
        {"decision_id": "d", "reward": 9.0, "reward_id": "b"},
        {"decision_id": "d", "components": {"dwell_s": 30}, "reward_id": "c"},
        {"decision_id": "d", "components": {"dwell_s": 2}, "reward_id": "d"},
        {"decision_id": "d", "reward": 1.0, "event_time": "x"},
    ]

    results = (await api.post("/v1/observe", json={"rewards": rewards})).json()["results"]

    states = ["joined", "rejected", "rejected", "joined", "rejected"]
    assert [one["state"] for one in results] == states
    assert [one["problem"]["errors"][0]["pointer"] for one in results[1:3]] == [
        "/rewards/1/reward",
        "/rewards/2/components/dwell_s",
    ]
    assert {one["problem"]["code"] for one in results[1:3]} == {"OutOfRange"}
    assert (counted("out_of_range"), counted("rejected")) == (before[0] + 2, before[1] + 1)
    assert [one["value"] for one in (await life(api, "d"))["rewards"]] == [1.0, 1.0]


async def test_a_guard_is_kept_and_is_no_part_of_the_reward(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(bandit(reward=LIMITED | {"aggregation": "mean", "default": -1.0}))
    await act(api, "d")

    alone = await state_of(api, "d", components={"complaints": 2}, reward_id="g")
    beside = await state_of(api, "d", components={"click": 1, "complaints": 2}, reward_id="both")

    assert (alone, beside) == (("joined", None), ("joined", 1.0))
    kept = [one["components"] for one in (await life(api, "d"))["rewards"]]
    assert kept == [{"complaints": 2.0}, {"click": 1.0, "complaints": 2.0}]


async def test_transitions_have_the_same_range(api: httpx.AsyncClient, put: Put) -> None:
    await put(sequential() | {"reward": {"wait_s": 60, "range": [0, 1]}})
    await act(api, "d0", **step(0))
    before = counted("out_of_range")
    own = {"decision_id": "d0", "reward": 2.0}

    refused = await api.post("/v1/observe", json={"transition": own})
    batch = await api.post(
        "/v1/observe", json={"transitions": [FOREIGN | {"reward": -1.0}, FOREIGN]}
    )

    assert (refused.status_code, refused.json()["code"]) == (422, "OutOfRange")
    assert refused.json()["errors"][0]["pointer"] == "/transition/reward"
    assert [one["state"] for one in batch.json()["results"]] == ["rejected", "joined"]
    assert batch.json()["results"][0]["problem"]["code"] == "OutOfRange"
    assert counted("out_of_range") == before + 2


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({}, "/reward"),
        ({"reward": 1.0, "components": {"click": 1.0}}, "/reward"),
        ({"reward": "1.5"}, "/reward"),
        ({"reward": True}, "/reward"),
        ({"reward": 1e13}, "/reward"),
        ({"reward": 1.0, "event_time": "yesterday"}, "/event_time"),
        ({"reward": 1.0, "event_time": "2026-01-01T00:00:00"}, "/event_time"),
        ({"reward": 1.0, "slot_id": "hero"}, "/slot_id"),
        ({"reward": 1.0, "op": "replace"}, "/op"),
    ],
)
async def test_a_bad_reward_is_refused_with_its_field(
    api: httpx.AsyncClient, put: Put, fields: dict[str, Any], pointer: str
) -> None:
    """Failure table row 21."""
    await put(bandit())
    await act(api, "d")

    refused = await observe(api, "d", **fields)

    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["pointer"] == pointer
    assert (await life(api, "d"))["rewards"] == []


async def test_items_of_a_batch_are_independent(api: httpx.AsyncClient, put: Put) -> None:
    await put(bandit())
    await act(api, "d")
    rewards = [
        {"decision_id": "d", "reward": 1.0, "reward_id": "a"},
        {"decision_id": "d", "reward": 2.0, "reward_id": "a"},
        {"decision_id": "d", "reward": 1.0, "event_time": "x"},
        {"decision_id": "d", "reward": 1.0, "reward_id": "b"},
    ]

    response = await api.post("/v1/observe", json={"rewards": rewards})

    results = response.json()["results"]
    assert [one["state"] for one in results] == ["joined", "rejected", "rejected", "joined"]
    assert results[1]["problem"]["code"] == "RewardConflict"
    assert results[2]["problem"]["errors"][0]["pointer"] == "/rewards/2/event_time"


async def test_the_policy_of_a_reward_is_found_by_its_decision(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(bandit("home"))
    await put(bandit("other"))
    await act(api, "d", policy="other")

    assert (await state_of(api, "d", reward=1.0))[0] == "joined"
    unknown = await observe(api, "nobody", reward=1.0)
    assert unknown.json()["errors"][0]["pointer"] == "/policy"


async def test_an_unknown_decision_has_no_life_and_cannot_be_activated(
    api: httpx.AsyncClient, put: Put
) -> None:
    """Failure table row 5."""
    await put(bandit())

    for response in (await api.get("/v1/decisions/x"), await api.post("/v1/decisions/x/activate")):
        assert (response.status_code, response.json()["code"]) == (404, "NotFound")


# -- episodes and transitions -------------------------------------------------------------------


def step(number: int, **changes: Any) -> dict[str, Any]:
    place = {"episode_id": "e", "step": number}
    return {"actions": ["left", "right"], "episode": place} | changes


async def test_a_sealed_episode_refuses_steps(api: httpx.AsyncClient, put: Put) -> None:
    """Failure table row 37."""
    await put(sequential())
    await act(api, "d0", **step(0))

    sealed = await api.post("/v1/episodes/e/seal", json={"status": "terminated"})
    again = await api.post("/v1/episodes/e/seal", json={"status": "terminated"})
    other = await api.post("/v1/episodes/e/seal", json={"status": "truncated"})
    late = await api.post("/v1/act", json=BODY | step(1) | {"decision_id": "d1"})

    assert (sealed.status_code, again.status_code) == (200, 200)
    assert (other.status_code, other.json()["code"]) == (409, "EpisodeSealed")
    assert (late.status_code, late.json()["code"]) == (409, "EpisodeSealed")


async def test_a_step_belongs_to_one_decision(api: httpx.AsyncClient, put: Put) -> None:
    """Failure table row 37."""
    await put(sequential())
    await act(api, "d0", **step(0))

    taken = await api.post("/v1/act", json=BODY | step(0) | {"decision_id": "other"})

    assert (taken.status_code, taken.json()["code"]) == (409, "StepTaken")


async def test_an_episode_that_never_began_cannot_be_sealed(
    api: httpx.AsyncClient, put: Put
) -> None:
    """Failure table row 37: the empty episode."""
    await put(sequential())

    response = await api.post("/v1/episodes/none/seal", json={"status": "terminated"})

    assert (response.status_code, response.json()["code"]) == (404, "NotFound")


async def test_a_transition_that_contradicts_the_log_is_refused(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(sequential())
    answer = await act(api, "d0", **step(0))
    wrong = {"decision_id": "d0", "reward": 1.0, "propensity": answer["propensity"] / 2}

    refused = await api.post("/v1/observe", json={"transition": wrong})
    agreed = await api.post(
        "/v1/observe", json={"transition": wrong | {"propensity": answer["propensity"]}}
    )

    assert (refused.status_code, refused.json()["code"]) == (409, "Contradiction")
    assert refused.json()["errors"][0]["pointer"] == "/transition/propensity"
    assert agreed.json()["results"][0]["state"] == "joined"


FOREIGN: dict[str, Any] = {
    "episode_id": "theirs",
    "step": 0,
    "observation": {"vector": [0, 1]},
    "available_actions": ["left", "right"],
    "action": {"id": "right"},
    "propensity": 0.5,
    "behavior_policy": "legacy@7",
    "reward": 1.0,
    "next_observation": {"vector": [1, 1]},
    "next_available_actions": ["left"],
}


async def test_a_transition_of_another_system_reaches_the_learner_once(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(sequential())

    first = await api.post("/v1/observe", json={"transition": FOREIGN})
    second = await api.post("/v1/observe", json={"transition": FOREIGN})
    changed = await api.post("/v1/observe", json={"transition": FOREIGN | {"reward": 2.0}})

    assert first.json()["results"][0]["state"] == "joined"
    assert second.json()["results"][0]["state"] == "duplicate"
    assert (changed.status_code, changed.json()["code"]) == (409, "Contradiction")
    counts = (await api.get("/v1/policies/cart")).json()["counts"]
    assert counts["replay_length"] == 1


async def only_transition(client: Redis) -> Transition:
    entries: Any = await client.xrange(PolicyKeys("cart").replay)
    [(_, fields)] = entries
    return decode_transition(fields[b"b"]).transition


async def test_a_logged_transition_says_where_in_whose_episode_it_stands(
    api: httpx.AsyncClient, put: Put, redis_client: Redis
) -> None:
    await put(sequential())

    await api.post("/v1/observe", json={"transition": FOREIGN | {"step": 7}})

    made = await only_transition(redis_client)
    assert (made.episode_id, made.step, made.next_action) == ("legacy@7/theirs", 7, None)


async def test_a_step_is_bounded_as_that_of_a_decision_is(api: httpx.AsyncClient, put: Put) -> None:
    await put(sequential())

    answer = await api.post("/v1/observe", json={"transition": FOREIGN | {"step": 1_000_000_001}})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/transition/step"


async def test_the_history_of_a_policy_begins_with_a_logged_transition(
    api: httpx.AsyncClient, put: Put, redis_client: Redis
) -> None:
    """Two steps in sight, rows of a flag, two observed, and left, right or unknown. Seen: [0, 1], then
    right was taken, then [1, 1]."""
    await put(with_agent(sequential(), history={"kind": "stacking", "window": 2}))

    await api.post("/v1/observe", json={"transition": FOREIGN})

    made = await only_transition(redis_client)
    assert made.state.tolist() == [0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0]
    assert made.next_state is not None
    assert made.next_state.tolist() == [1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"action": {"id": "up"}}, "/transition/action/id"),
        ({"propensity": None}, "/transition/propensity"),
        ({"propensity": 0.0}, "/transition/propensity"),
        ({"propensity": 1.5}, "/transition/propensity"),
        ({"action": {"value": [0.5]}}, "/transition/action"),
        ({"next_observation": {"vector": [1]}}, "/transition/next_observation/vector"),
        ({"terminated": True}, "/transition/next_observation"),
    ],
)
async def test_a_bad_transition_is_refused_with_its_field(
    api: httpx.AsyncClient, put: Put, changes: dict[str, Any], pointer: str
) -> None:
    """Failure table rows 11 and 24."""
    await put(sequential())

    refused = await api.post("/v1/observe", json={"transition": FOREIGN | changes})

    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["pointer"] == pointer
