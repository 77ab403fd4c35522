"""Rollouts over HTTP: started, looked at, moved and ended by people, and what a deployment tool is told."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from tests.support.rollouts import Stage
from tests.support.served import neural

STEPS = [{"share": 0.2, "at_least_s": 0}, {"share": 0.5, "at_least_s": 0}]
GOOD, BAD = [1.0, 0.9, 0.8] * 40, [0.1, 0.0, 0.2] * 40
PATH = "/v1/policies/home/rollout"
Open = Callable[..., Awaitable[Stage]]


@pytest.fixture
def open_stage(redis_client: Redis, tmp_path: Path, api: httpx.AsyncClient) -> Open:
    """A policy whose version 1 is live and whose version 2 is a candidate, with a server."""

    async def opened(approval: dict[str, Any] | None = None, **rollout: Any) -> Stage:
        rule = {"gate": None, "steps": STEPS, "margin": 0.05, "least_rewards": 50} | rollout
        more: dict[str, Any] = (
            {"approval": approval, "learning": {"auto_promote": False}} if approval else {}
        )
        stage = Stage(redis_client, tmp_path, neural(rollout=rule, **more))
        await stage.register()
        await stage.publish()
        return stage

    return opened


async def start(api: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await api.post(PATH, json={"version": 2, "why": "try it"} | body)


async def look(api: httpx.AsyncClient) -> dict[str, Any]:
    answer = await api.get(PATH)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


# -- starting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, "2", "home@2"])
async def test_a_person_sends_a_version_on_its_way(
    api: httpx.AsyncClient, open_stage: Open, version: int | str
) -> None:
    await open_stage()

    answer = await start(api, version=version)

    assert answer.status_code == 201, answer.text
    view = answer.json()
    assert (view["stage"], view["candidate"], view["live"]) == ("candidate", "home@2", "home@1")
    assert view["next"] == {"move": "shadow", "why": "scored beside the live version from now on", "at": None}  # fmt: skip
    assert (await look(api))["rollout_id"] == view["rollout_id"]


async def test_a_rollout_may_begin_in_the_canary(api: httpx.AsyncClient, open_stage: Open) -> None:
    await open_stage()

    view = (await start(api, at="canary")).json()

    assert (view["stage"], view["step"], view["share"]) == ("canary", 0, 0.2)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"version": 9}, 404, "NotFound"),
        ({"version": 1}, 422, "InvalidRequest"),
        ({"version": "shop@2"}, 422, "InvalidRequest"),
        ({"version": -2}, 422, "InvalidRequest"),
        ({"version": None}, 422, "InvalidRequest"),
        ({"why": ""}, 422, "InvalidRequest"),
        ({"at": "live"}, 422, "InvalidRequest"),
        ({"pin": True}, 422, "UnknownField"),
    ],
)
async def test_what_cannot_set_out_is_refused(
    api: httpx.AsyncClient, open_stage: Open, body: dict[str, Any], status: int, code: str
) -> None:
    await open_stage()

    answer = await start(api, **body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await look(api))["stage"] == "none"


async def test_one_rollout_at_a_time(api: httpx.AsyncClient, open_stage: Open) -> None:
    stage = await open_stage()
    await stage.publish()
    await start(api)

    answer = await start(api, version=3)

    assert (answer.status_code, answer.json()["code"]) == (409, "RolloutRunning")
    assert "version 2 is on its way" in answer.json()["detail"]


async def test_a_pinned_policy_lets_nobody_set_out(
    api: httpx.AsyncClient, open_stage: Open
) -> None:
    await open_stage()
    await api.post("/v1/policies/home/versions/2/promote", json={"pin": True})

    answer = await start(api, version=1)

    assert answer.status_code == 409
    assert "pinned to version 2" in answer.json()["detail"]


async def test_a_quarantined_version_does_not_set_out(
    api: httpx.AsyncClient, open_stage: Open
) -> None:
    stage = await open_stage()
    await stage.client.hset(stage.keys.meta, "quarantined:2", "1")

    answer = await start(api)

    assert answer.status_code == 409
    assert "quarantined" in answer.json()["detail"]


@pytest.mark.parametrize(
    "change",
    [
        {"agent": neural()["agent"] | {"observation": {"kind": "vector", "dim": 3}}},
        {
            "reward": {"wait_s": 60, "default": 1.0}
        },  # the same network, and what it earns counts otherwise
    ],
)
async def test_a_version_of_another_model_does_not_set_out(
    api: httpx.AsyncClient, open_stage: Open, change: dict[str, Any]
) -> None:
    stage = await open_stage()
    answer = await api.put(
        "/v1/policies/home",
        params={"restart": "true"},
        json=neural(rollout={"gate": None, "steps": STEPS}) | change,
    )
    assert answer.status_code == 200, answer.text
    assert (await stage.meta()).live == 3

    refused = await start(api)

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["code"] == "another_model"


async def test_a_version_that_no_server_can_load_does_not_set_out(
    api: httpx.AsyncClient, open_stage: Open, tmp_path: Path
) -> None:
    await open_stage()
    shutil.rmtree(tmp_path / "artefacts" / "home" / "2")

    answer = await start(api)

    assert answer.status_code == 409
    assert "version 2 cannot be served" in answer.json()["detail"]


async def test_nothing_begins_in_a_canary_that_is_not_declared_or_while_tripped(
    api: httpx.AsyncClient, open_stage: Open
) -> None:
    stage = await open_stage(steps=[])
    undeclared = await start(api, at="canary")
    await stage.trip()

    waits = await start(api)

    assert (undeclared.status_code, undeclared.json()["errors"][0]["code"]) == (422, "missing")
    assert waits.json()["next"]["why"] == "the policy is tripped by reward"


async def test_an_unknown_policy_is_not_found(api: httpx.AsyncClient) -> None:
    for path in (PATH, "/v1/policies/home/shadows", "/v1/policies/home/events", "/v1/gates/home/check"):  # fmt: skip
        assert (await api.get(path)).status_code == 404
    assert (await start(api)).status_code == 404


# -- what is seen -----------------------------------------------------------------------------------


async def test_the_view_shows_what_the_worker_saw(api: httpx.AsyncClient, open_stage: Open) -> None:
    stage = await open_stage(cost_margin=0.5)
    await start(api, at="canary")
    await stage.turn()
    stage.now_ms += 10**12  # after the start, by the clock of the server too
    await stage.rewards("canary", GOOD, cost=0.25)
    await stage.rewards("live", BAD)
    await stage.follower.follow(await stage.watched(), 0)

    view = await look(api)

    canary, live = view["arms"]
    assert (canary["arm"], canary["rewards"]) == ("canary", 120)
    assert canary["mean_reward"] == pytest.approx(0.9)
    assert (canary["mean_cost"], live["mean_cost"], live["mean_latency_ms"]) == (0.25, 0.0, 0.0)
    reward, cost = view["comparisons"]
    assert (reward["metric"], reward["evidence"]) == ("reward", "promote")
    assert reward["difference"] == pytest.approx(0.8)
    assert cost["difference"] == pytest.approx(0.25)
    assert view["evidence"] in ("promote", "roll back")


async def test_events_tell_who_did_what_and_why(api: httpx.AsyncClient, open_stage: Open) -> None:
    await open_stage()
    await start(api)
    await api.post(f"{PATH}/abort", json={"why": "not today"})

    events = (await api.get("/v1/policies/home/events")).json()["events"]
    newest = (await api.get("/v1/policies/home/events", params={"count": 1})).json()["events"]
    wrong = await api.get("/v1/policies/home/events", params={"count": 0})

    assert [(e["what"], e["who"], e["why"]) for e in events] == [
        ("rollout", "loopback", "not today"),
        ("rollout", "loopback", "try it"),
    ]
    assert [e["detail"]["to"] for e in events] == ["retired", "candidate"]
    assert newest == events[:1]
    assert wrong.status_code == 422


# -- moving -----------------------------------------------------------------------------------------


async def test_a_person_moves_a_rollout_through_all_of_it(
    api: httpx.AsyncClient, open_stage: Open
) -> None:
    stage = await open_stage()
    await start(api)

    views = [(await api.post(f"{PATH}/advance", json={"why": "on"})).json() for _ in range(4)]

    assert [(v["stage"], v["share"]) for v in views] == [("shadow", 0.0), ("canary", 0.2), ("canary", 0.5), ("none", 0.0)]  # fmt: skip
    assert (await stage.meta()).live == 2
    assert [event.why for event in await stage.events()] == ["try it", *["on"] * 4]


async def test_there_is_nothing_to_move_without_a_rollout(
    api: httpx.AsyncClient, open_stage: Open
) -> None:
    await open_stage()

    answers = [await api.post(f"{PATH}/{move}", json={"why": "x"}) for move in ("advance", "abort")]

    assert {(a.status_code, a.json()["code"]) for a in answers} == {(409, "NoRollout")}


async def test_an_abort_may_quarantine_what_the_candidate_did(
    api: httpx.AsyncClient, open_stage: Open
) -> None:
    stage = await open_stage()
    await start(api, at="canary")

    view = (await api.post(f"{PATH}/abort", json={"why": "odd", "quarantine": True})).json()

    assert view["stage"] == "none"
    assert await stage.policies.quarantined(stage.keys) == {2}


# -- approvals --------------------------------------------------------------------------------------


async def test_neither_advance_nor_promote_goes_round_an_approval(
    api: httpx.AsyncClient, open_stage: Open
) -> None:
    stage = await open_stage(approval={"promotions": True}, steps=STEPS[:1])
    await start(api, at="canary")
    asked = (await api.post(f"{PATH}/advance", json={"why": "on"})).json()
    again = await api.post(f"{PATH}/advance", json={"why": "on"})
    by_hand = await api.post("/v1/policies/home/versions/2/promote")

    assert (asked["stage"], asked["approval_state"]) == ("waiting", "pending")
    assert (again.status_code, again.json()["code"]) == (409, "RolloutHeld")
    assert (by_hand.status_code, by_hand.json()["code"]) == (409, "ApprovalNeeded")
    assert asked["approval"] in by_hand.json()["detail"]
    assert (await stage.meta()).live == 1


async def test_an_approved_promotion_is_made_once(api: httpx.AsyncClient, open_stage: Open) -> None:
    stage = await open_stage(approval={"promotions": True})
    refused = await api.post("/v1/policies/home/versions/2/promote")
    name = refused.json()["detail"].split()[1]
    await stage.client.hset(f"nacre:{{home}}:approval:{name}", "state", "approved")

    made = await api.post("/v1/policies/home/versions/2/promote")
    back = await api.post("/v1/policies/home/rollback")
    again = await api.post("/v1/policies/home/versions/2/promote")

    assert made.json()["live"] == "home@2"
    assert back.json()["live"] == "home@1"  # what saves the day needs nobody
    assert again.json()["code"] == "ApprovalNeeded"


# -- the gate of deployment tools -------------------------------------------------------------------


async def check(api: httpx.AsyncClient) -> tuple[int, str]:
    got, posted = await api.get("/v1/gates/home/check"), await api.post("/v1/gates/home/check", json={"phase": "x"})  # fmt: skip
    assert got.status_code == posted.status_code
    return got.status_code, got.json().get("code", got.json().get("why"))


async def test_a_deployment_tool_is_told_to_go_on_to_wait_or_to_stop(
    api: httpx.AsyncClient, open_stage: Open
) -> None:
    stage = await open_stage()
    nothing = await check(api)
    await start(api, at="canary")
    waits = await check(api)
    await stage.turn()
    stage.now_ms += 10**12
    await stage.rewards("canary", GOOD)
    await stage.rewards("live", BAD)
    await stage.follower.follow(await stage.watched(), 0)
    goes = await check(api)
    await stage.trip()
    stops = await check(api)

    assert nothing == (200, "no rollout is under way")
    assert waits == (425, "NotYet")
    assert goes[0] == 200
    assert stops == (403, "GateClosed")
