"""Rewards, transitions, activation, sealing, and the life of a decision."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from nacre_client import InputError, RewardEntry, RewardResult

from tests.clients.harness import Sdk, Wire, answer, problem_body, reward_body


@pytest.fixture
def wire() -> Wire:
    return Wire(answer(202, reward_body()))


async def test_a_reward_says_what_became_of_it(sdk: Sdk, wire: Wire) -> None:
    client = sdk.connect(wire)

    result = await sdk.call(client.observe, "d-1", 1.0)

    assert result == RewardResult("r-1", "joined", 1.0)


async def test_every_part_of_a_reward_has_its_place(sdk: Sdk, wire: Wire) -> None:
    client = sdk.connect(wire, policy="digits")

    await sdk.call(
        client.observe,
        "d-1",
        reward_id="r-1",
        cost=0.5,
        type="click",
        final=True,
        event_time=datetime(2026, 11, 20, 20, 31, 7, tzinfo=UTC),
        op="amend",
        components={"click": 1.0},
    )

    assert wire.targets == ["POST /v1/observe"]
    assert wire.bodies == [
        {
            "decision_id": "d-1",
            "reward_id": "r-1",
            "cost": 0.5,
            "type": "click",
            "final": True,
            "event_time": "2026-11-20T20:31:07+00:00",
            "op": "amend",
            "components": {"click": 1.0},
            "policy": "digits",
        }
    ]


async def test_a_reward_without_an_id_gets_a_new_one_each_time(sdk: Sdk, wire: Wire) -> None:
    client = sdk.connect(wire)

    await sdk.call(client.observe, "d-1", 1.0)
    await sdk.call(client.observe, "d-1", 1.0)

    first, second = (body["reward_id"] for body in wire.bodies)
    assert len(first) == len(second) == 32
    assert first != second


async def test_a_reward_of_zero_is_sent(sdk: Sdk, wire: Wire) -> None:
    client = sdk.connect(wire)

    await sdk.call(client.observe, "d-1", 0)

    assert wire.bodies[0]["reward"] == 0


async def test_a_reward_that_is_not_a_number_is_named(sdk: Sdk, wire: Wire) -> None:
    client = sdk.connect(wire)

    with pytest.raises(InputError, match="/reward is nan"):
        await sdk.call(client.observe, "d-1", float("nan"))


async def test_a_time_without_zone_is_refused(sdk: Sdk, wire: Wire) -> None:
    client = sdk.connect(wire)
    naive = datetime(2026, 11, 20)  # noqa: DTZ001 - the mistake that is tested

    with pytest.raises(InputError, match="has no time zone"):
        await sdk.call(client.observe, "d-1", 1.0, event_time=naive)


@pytest.mark.parametrize(
    ("event_time", "sent"),
    [
        ("2026-11-20T20:31:07Z", "2026-11-20T20:31:07Z"),
        (
            datetime(2026, 11, 20, 21, 31, tzinfo=timezone(timedelta(hours=1))),
            "2026-11-20T21:31:00+01:00",
        ),
    ],
)
async def test_a_time_is_sent_as_rfc_3339(sdk: Sdk, wire: Wire, event_time: Any, sent: str) -> None:
    client = sdk.connect(wire)

    await sdk.call(client.observe, "d-1", 1.0, event_time=event_time)

    assert wire.bodies[0]["event_time"] == sent


async def test_many_rewards_travel_together_and_keep_their_order(sdk: Sdk) -> None:
    refused = {
        "reward_id": "b",
        "state": "rejected",
        "problem": problem_body(422, "RewardConflict", detail="another value"),
    }
    results = [{"reward_id": "a", "state": "joined", "reward_so_far": 1.0}, refused]
    wire = Wire(answer(202, {"results": results}))
    client = sdk.connect(wire, policy="digits")

    good, bad = await sdk.call(
        client.observe_many,
        [
            {"decision_id": "d-1", "reward": 1.0, "reward_id": "a"},
            {"decision_id": "d-2", "reward": 0.5, "reward_id": "b", "policy": "other"},
        ],
    )

    assert good == RewardResult("a", "joined", 1.0)
    assert (bad.state, bad.problem.code) == ("rejected", "RewardConflict")
    assert wire.bodies[0]["rewards"] == [
        {"decision_id": "d-1", "reward": 1.0, "reward_id": "a", "policy": "digits"},
        {"decision_id": "d-2", "reward": 0.5, "reward_id": "b", "policy": "other"},
    ]


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        ({"decision_id": "d", "rewrd": 1.0}, "a reward has no option rewrd; expected components"),
        ({"reward": 1.0}, "a reward without decision_id"),
    ],
)
async def test_a_misspelt_reward_is_a_type_error(
    sdk: Sdk, wire: Wire, reward: Any, message: str
) -> None:
    client = sdk.connect(wire)

    with pytest.raises(TypeError, match=message):
        await sdk.call(client.observe_many, [reward])


async def test_a_transition_carries_the_whole_step(sdk: Sdk, wire: Wire) -> None:
    client = sdk.connect(wire, policy="digits")

    await sdk.call(
        client.observe_transition,
        episode_id="e-1",
        step=4,
        observation=[0.0],
        available_actions=["left", "right"],
        action="left",
        propensity=0.5,
        reward=1.0,
        cost=0.0,
        next_observation={"x": 1},
        next_available_actions=["left"],
        terminated=False,
        truncated=True,
        event_time="2026-11-20T20:31:07Z",
        behavior_policy="legacy@7",
    )

    assert wire.bodies == [
        {
            "transition": {
                "policy": "digits",
                "episode_id": "e-1",
                "step": 4,
                "observation": {"vector": [0.0]},
                "available_actions": ["left", "right"],
                "action": {"id": "left"},
                "propensity": 0.5,
                "reward": 1.0,
                "cost": 0.0,
                "next_observation": {"features": {"x": 1}},
                "next_available_actions": ["left"],
                "terminated": False,
                "truncated": True,
                "event_time": "2026-11-20T20:31:07Z",
                "behavior_policy": "legacy@7",
            }
        }
    ]


async def test_a_misspelt_transition_is_a_type_error(sdk: Sdk, wire: Wire) -> None:
    client = sdk.connect(wire)

    with pytest.raises(TypeError, match="a transition has no option done; expected action"):
        await sdk.call(client.observe_transition, done=True)


async def test_a_decision_shows_its_whole_life(sdk: Sdk) -> None:
    entry = {"reward_id": "r-1", "value": 1.0, "type": "click", "arrived_ms": 7}
    body = {
        "decision_id": "d-1",
        "policy": "digits",
        "kind": "decision",
        "made_at": "2026-11-20T20:00:00Z",
        "state": "joined",
        "activated": True,
        "reward_deadline": "2026-11-20T21:00:00Z",
        "request": {"observation": {"vector": [1.0]}},
        "response": {"decision_id": "d-1"},
        "rewards": [entry],
        "late_rewards": [{**entry, "reward_id": "r-2"}],
        "learned_by": ["digits@43"],
    }
    wire = Wire(answer(200, body))
    client = sdk.connect(wire, policy="digits")

    life = await sdk.call(client.decision, "d-1")

    assert (life.state, life.learned_by) == ("joined", ("digits@43",))
    assert life.made_at == datetime(2026, 11, 20, 20, tzinfo=UTC)
    assert life.request == {"observation": {"vector": [1.0]}}
    assert life.rewards == (RewardEntry("r-1", 1.0, type="click", arrived_ms=7),)
    assert [entry.reward_id for entry in life.late_rewards] == ["r-2"]
    assert wire.targets == ["GET /v1/decisions/d-1?policy=digits"]


async def test_activation_needs_no_body_and_gives_no_answer(sdk: Sdk) -> None:
    wire = Wire(answer(204))
    client = sdk.connect(wire)

    result = await sdk.call(client.activate, "d-1")

    assert result is None
    assert wire.targets == ["POST /v1/decisions/d-1/activate"]
    assert wire.requests[0].content == b""


async def test_a_truncated_episode_may_say_what_would_have_come_next(sdk: Sdk) -> None:
    wire = Wire(answer(202, {}))
    client = sdk.connect(wire)

    await sdk.call(
        client.seal_episode,
        "e-1",
        "truncated",
        next_observation=[0.5],
        next_available_actions=["left"],
        policy="cart",
    )

    assert wire.targets == ["POST /v1/episodes/e-1/seal?policy=cart"]
    assert wire.bodies == [
        {
            "status": "truncated",
            "next_observation": {"vector": [0.5]},
            "next_available_actions": ["left"],
        }
    ]


@pytest.mark.parametrize(
    ("decision_id", "segment"),
    [
        ("a/b", "a%2Fb"),
        ("a b?c#d", "a%20b%3Fc%23d"),
        ("50%2F", "50%252F"),
        ("größe", "gr%C3%B6%C3%9Fe"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("a:b@c", "a:b@c"),
    ],
)
async def test_an_id_stays_one_segment_of_the_path(
    sdk: Sdk, decision_id: str, segment: str
) -> None:
    wire = Wire(answer(204))
    client = sdk.connect(wire)

    await sdk.call(client.activate, decision_id)

    assert wire.targets == [f"POST /v1/decisions/{segment}/activate"]


async def test_an_empty_id_is_refused(sdk: Sdk, wire: Wire) -> None:
    client = sdk.connect(wire)

    with pytest.raises(InputError, match="an id is empty"):
        await sdk.call(client.activate, "")


async def test_a_policy_in_a_query_is_encoded(sdk: Sdk) -> None:
    wire = Wire(answer(204))
    client = sdk.connect(wire)

    await sdk.call(client.activate, "d-1", policy="a&b=c")

    assert wire.targets == ["POST /v1/decisions/d-1/activate?policy=a%26b%3Dc"]


async def test_a_logged_continuous_action_is_sent_as_a_vector(sdk: Sdk) -> None:
    wire = Wire(answer(202, reward_body()))

    await sdk.call(
        sdk.connect(wire).observe_transition, episode_id="e", step=0, action=(0.5, 1.0), reward=1.0
    )

    assert wire.bodies[0]["transition"]["action"] == {"value": [0.5, 1.0]}
