"""A policy with a history, over the whole application and a real Redis."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from redis.asyncio import Redis

from agent_core.types import Transition
from service.clock import now_ms
from service.decisions.records import DecisionRecord, decode_record, encode_record
from service.decisions.replay import replay
from service.decisions.repository import read_record
from service.joining.frames import Frames
from service.joining.joiner import Joiner, Watched
from service.joining.repository import JoinRepository
from service.policies.config import parse_policy
from service.policies.repository import PolicyRepository
from service.replay.codec import decode_transition
from service.repository import PolicyKeys
from tests.service.conftest import Put
from tests.support.api import running_api, settings_for
from tests.support.policies import sequential, with_agent
from tests.support.proxy import FaultProxy

KEYS = PolicyKeys("cart")
ROW = 6
"""Numbers of one step: a flag, two observed, and whether left, right or an unknown action was taken."""


def remembering(**changes: Any) -> dict[str, Any]:
    """Sees the last three steps."""
    return with_agent(sequential(), history={"kind": "stacking", "window": 3}, **changes)


async def act(
    api: httpx.AsyncClient, step: int | None, episode: str = "e", **changes: Any
) -> dict[str, Any]:
    """Decides a step that is seen as [step, 1]."""
    body: dict[str, Any] = {
        "observation": {"vector": [step or 0, 1]},
        "actions": ["left", "right"],
        **changes,
    }
    if step is not None:
        body["episode"] = {"episode_id": episode, "step": step}
        body["decision_id"] = f"{episode}.{step}"
    response = await api.post("/v1/act", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def note(answer: dict[str, Any]) -> str | None:
    found: str | None = answer["reasons_detail"].get("history")
    return found


def row(step: int, action: str) -> list[float]:
    return [1, step, 1, action == "left", action == "right", 0]


async def recorded(client: Redis, decision_id: str) -> DecisionRecord:
    body = await read_record(client, KEYS, decision_id)
    assert body is not None
    return decode_record(body)


async def carry_of(client: Redis, decision_id: str) -> list[float]:
    carry = (await recorded(client, decision_id)).carry
    return list(struct.unpack(f"<{len(carry) // 4}f", carry))


async def forge(client: Redis, decision_id: str, carry: bytes) -> None:
    forged = msgspec.structs.replace(await recorded(client, decision_id), carry=carry)
    await client.hset(KEYS.decision_prefix + decision_id, "b", encode_record(forged))


async def test_each_step_sees_the_steps_before_it(
    api: httpx.AsyncClient, put: Put, redis_client: Redis
) -> None:
    await put(remembering())

    answers = [await act(api, step) for step in range(4)]

    took = [answer["action"]["id"] for answer in answers]
    assert [note(answer) for answer in answers] == ["fresh", None, None, None]
    assert await carry_of(redis_client, "e.0") == []
    assert await carry_of(redis_client, "e.1") == [0] * ROW + row(0, took[0])
    assert await carry_of(redis_client, "e.2") == row(0, took[0]) + row(1, took[1])
    assert await carry_of(redis_client, "e.3") == row(1, took[1]) + row(2, took[2])


async def test_episodes_do_not_see_each_other(
    api: httpx.AsyncClient, put: Put, redis_client: Redis
) -> None:
    await put(remembering())

    await asyncio.gather(*[act(api, 0, f"e{number}") for number in range(20)])
    answers = await asyncio.gather(*[act(api, 1, f"e{number}") for number in range(20)])

    assert {note(answer) for answer in answers} == {None}
    for number in range(20):
        first = await recorded(redis_client, f"e{number}.0")
        took = "left" if b'"action":{"id":"left"' in first.response else "right"
        assert await carry_of(redis_client, f"e{number}.1") == [0] * ROW + row(0, took)


async def test_a_step_after_a_gap_knows_what_was_decided_and_says_so(
    api: httpx.AsyncClient, put: Put, redis_client: Redis
) -> None:
    await put(remembering())

    took = (await act(api, 0))["action"]["id"]
    after_gap, after_that = await act(api, 2), await act(api, 3)

    assert (note(after_gap), note(after_that)) == ("partial", "partial")
    assert await carry_of(redis_client, "e.2") == [0] * ROW + row(0, took)


async def test_a_step_that_comes_late_starts_afresh_and_changes_nothing_for_the_others(
    api: httpx.AsyncClient, put: Put, redis_client: Redis
) -> None:
    await put(remembering())
    await act(api, 0)
    took = (await act(api, 2))["action"]["id"]

    late = await act(api, 1)
    await act(api, 3)

    assert note(late) == "fresh"
    assert (await carry_of(redis_client, "e.3"))[ROW:] == row(2, took)


async def test_without_an_episode_there_is_no_history(api: httpx.AsyncClient, put: Put) -> None:
    await put(remembering())

    assert note(await act(api, None)) == "fresh"


async def test_a_policy_without_a_history_keeps_none(
    api: httpx.AsyncClient, put: Put, redis_client: Redis
) -> None:
    await put(sequential())

    answers = [await act(api, step) for step in range(2)]

    assert [note(answer) for answer in answers] == [None, None]
    assert (await recorded(redis_client, "e.1")).carry == b""
    assert await redis_client.hget(KEYS.episode_prefix + "e", "carry") is None


async def test_a_step_that_is_sent_again_gets_its_answer_byte_for_byte(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(remembering())
    first = [await act(api, step) for step in range(3)]

    again = [await act(api, step) for step in range(3)]

    assert again == first


async def test_the_items_of_a_batch_know_their_own_episodes(
    api: httpx.AsyncClient, put: Put, redis_client: Redis
) -> None:
    await put(remembering())
    shared = {"observation": {"vector": [0, 1]}, "actions": ["left", "right"]}

    def batch(step: int) -> dict[str, Any]:
        places = [{"episode_id": f"e{number}", "step": step} for number in range(3)]
        items = [
            {"episode": place, "decision_id": f"{place['episode_id']}.{step}"} for place in places
        ]
        return {"defaults": shared, "requests": [*items, {"episode": {"episode_id": "e0"}}]}

    await api.post("/v1/act:batch", json=batch(0))
    *answers, wrong = (await api.post("/v1/act:batch", json=batch(1))).json()["responses"]

    assert [note(answer) for answer in answers] == [None] * 3
    assert wrong["status"] == 422
    assert len(await carry_of(redis_client, "e2.1")) == 2 * ROW


async def test_what_is_remembered_goes_with_the_episode(
    api: httpx.AsyncClient, put: Put, redis_client: Redis
) -> None:
    await put(remembering())
    await act(api, 0)
    key = KEYS.episode_prefix + "e"
    size_after_one = await redis_client.hstrlen(key, "carry")
    for step in range(1, 9):
        await act(api, step)

    await api.post("/v1/episodes/e/seal", json={"status": "terminated"})

    assert await redis_client.hstrlen(key, "carry") == size_after_one
    assert 0 < await redis_client.pttl(key) <= (60 + 86_400) * 1000


async def test_when_redis_is_silent_the_answer_comes_and_says_so(
    redis_url: str, tmp_path: Path
) -> None:
    async with FaultProxy(redis_url) as proxy:
        settings = settings_for(proxy.url, tmp_path, confirm_timeout_s=0.05)
        async with running_api(settings) as api:
            await api.put("/v1/policies/cart", json=remembering())
            await act(api, 0)
            await proxy.stall()

            answer = await act(api, 1)

            assert note(answer) == "unavailable"
            assert answer["reason"] in ("policy", "explore")
            await proxy.heal()


async def test_a_slow_redis_leaves_half_of_the_time_to_decide(
    redis_url: str, tmp_path: Path
) -> None:
    async with FaultProxy(redis_url) as proxy:
        settings = settings_for(proxy.url, tmp_path, confirm_timeout_s=5.0)
        async with running_api(settings) as api:
            await api.put("/v1/policies/cart", json=remembering())
            await act(api, 0)
            await proxy.stall()

            answer = await act(api, 1, deadline_ms=400)

            assert note(answer) == "unavailable"
            assert "fallback" not in answer["reasons_detail"]
            await proxy.heal()


async def test_a_decision_is_computed_again_with_the_history_that_it_had(
    api: httpx.AsyncClient, put: Put, redis_client: Redis, redis_url: str, tmp_path: Path
) -> None:
    await put(remembering())
    for step in (0, 1, 2, 4, 3):
        await act(api, step)
    settings = settings_for(redis_url, tmp_path)

    found = [await replay(redis_client, settings, f"e.{step}", "cart") for step in range(5)]

    assert [one.differences for one in found] == [[]] * 5


async def test_with_another_history_it_would_have_been_another_decision(
    api: httpx.AsyncClient, put: Put, redis_client: Redis, redis_url: str, tmp_path: Path
) -> None:
    """What makes the test above a test: the scores do depend on the carry."""
    await put(remembering())
    for step in range(2):
        await act(api, step)
    await forge(redis_client, "e.1", struct.pack(f"<{2 * ROW}f", *[7.0] * 2 * ROW))

    found = await replay(redis_client, settings_for(redis_url, tmp_path), "e.1", "cart")

    assert any(one.startswith("ranking") for one in found.differences)


# -- what is learned from it ----------------------------------------------------------------------


async def joined(client: Redis, document: dict[str, Any]) -> dict[int, Transition]:
    """The finished transitions, by step."""
    policies = PolicyRepository(client)
    joins = JoinRepository(client)
    meta = await policies.meta(KEYS)
    assert meta is not None
    watched = Watched(KEYS, parse_policy(document), meta, frozenset())
    [due] = await joins.due([KEYS], now_ms(), 100)
    await Joiner(joins, Frames(policies)).join(watched, due, now_ms())
    entries: Any = await client.xrange(KEYS.replay)
    made = [decode_transition(fields[b"b"]).transition for _, fields in entries]
    return {one.step: one for one in made}


async def reward(api: httpx.AsyncClient, step: int) -> None:
    body = {"decision_id": f"e.{step}", "reward": step, "final": True}
    assert (await api.post("/v1/observe", json=body)).status_code == 202


async def test_state_and_next_state_are_what_the_decisions_saw(
    api: httpx.AsyncClient, put: Put, redis_client: Redis
) -> None:
    await put(remembering())
    answers = []
    for step in range(3):
        answers.append(await act(api, step))
        await reward(api, step)
    end = {"next_observation": {"vector": [3, 1]}, "next_available_actions": ["left", "right"]}
    await api.post("/v1/episodes/e/seal", json={"status": "truncated", **end})

    made = await joined(redis_client, remembering())

    took = [answer["action"]["id"] for answer in answers]
    past = [row(step, took[step]) for step in range(3)]
    now = [[1, step, 1, 0, 0, 0] for step in range(4)]
    seen = [
        [0] * 2 * ROW + now[0],
        [0] * ROW + past[0] + now[1],
        past[0] + past[1] + now[2],
        past[1] + past[2] + now[3],
    ]
    assert [made[step].state.tolist() for step in range(3)] == seen[:3]
    following = [made[step].next_state for step in range(3)]
    assert [state.tolist() for state in following if state is not None] == seen[1:]
    assert [made[step].episode_id for step in range(3)] == ["e"] * 3


async def test_a_damaged_carry_costs_one_transition(
    api: httpx.AsyncClient, put: Put, redis_client: Redis
) -> None:
    await put(remembering())
    for step in range(2):
        await act(api, step)
        await reward(api, step)
    await api.post("/v1/episodes/e/seal", json={"status": "terminated"})
    await forge(redis_client, "e.1", b"\0\0\0\0")

    made = await joined(redis_client, remembering())

    assert made == {}
    assert await redis_client.hget(KEYS.decision_prefix + "e.1", "s") == b"unreadable"
    assert await redis_client.hget(KEYS.decision_prefix + "e.0", "s") == b"no_successor"


@pytest.mark.parametrize("kind", ["lstm", "gru", "transformer"])
async def test_learned_summaries_are_served_too(
    api: httpx.AsyncClient, put: Put, redis_client: Redis, redis_url: str, tmp_path: Path, kind: str
) -> None:
    await put(with_agent(sequential(), history={"kind": kind}))

    for step in range(3):
        await act(api, step)

    found = await replay(redis_client, settings_for(redis_url, tmp_path), "e.2", "cart")
    assert found.differences == []


async def test_another_history_is_another_model(api: httpx.AsyncClient, put: Put) -> None:
    """The networks were built for windows of three."""
    await put(remembering())
    longer = with_agent(sequential(), history={"kind": "stacking", "window": 4})

    refused = await api.put("/v1/policies/cart", json=longer)

    assert (refused.status_code, refused.json()["code"]) == (409, "PolicyChange")
    assert refused.json()["errors"][0]["pointer"] == "/agent/history"
