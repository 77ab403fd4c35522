"""What can be asked of watching and of trips over HTTP, and who may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from service.repository import PolicyKeys
from tests.service.conftest import Put
from tests.support.access import KEYS, keys_setting
from tests.support.api import running_api, settings_for
from tests.support.log_events import START_MS, outcomes
from tests.support.policies import bandit
from tests.support.watched import Stage

_SMALL = {"window": 100, "reference": 400, "baseline_window": 400}
_HOME = "/v1/policies/home"


@pytest.fixture
async def home(api: httpx.AsyncClient, put: Put) -> httpx.AsyncClient:
    """An API with the policy `home`."""
    await put(bandit(monitoring=_SMALL, trips={"reward": {}, "recover_s": 60}))
    return api


async def _act(api: httpx.AsyncClient) -> dict[str, object]:
    asked = {"policy": "home", "observation": {"vector": [0, 1]}, "actions": ["a", "b"]}
    answer = await api.post("/v1/act", json=asked | {"baseline_action": "b"})
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


async def test_a_policy_that_nobody_watched_yet_has_no_status(home: httpx.AsyncClient) -> None:
    answer = await home.get(f"{_HOME}/monitoring")

    assert answer.json() == {"policy": "home", "status": None, "windows": []}
    assert (await home.get(f"{_HOME}/alarms")).json()["active"] == []


async def test_windows_signals_and_the_reference_can_be_looked_at(
    home: httpx.AsyncClient, redis_client: Redis
) -> None:
    stage = Stage(redis_client, bandit(monitoring=_SMALL, trips={"reward": {}, "recover_s": 60}))
    await stage.feed(outcomes([0.0, 1.0] * 200))
    await stage.feed(outcomes([0.0] * 350, begin_ms=START_MS + 10_000))
    await stage.turn()

    seen = (await home.get(f"{_HOME}/monitoring", params={"windows": 2})).json()
    alarms = (await home.get(f"{_HOME}/alarms")).json()

    assert seen["status"]["reference"]["outcomes"] == 400
    assert seen["status"]["reference"]["baseline"] == 0.5
    assert len(seen["windows"]) == 2
    newest = {(r["signal"], r["kind"]): r for r in seen["windows"][0]["readings"]}
    assert newest["reward", ""]["is_beyond"]
    assert [(one["signal"], one["level"]) for one in alarms["active"] if one["signal"] == "reward"]
    assert alarms["changes"][-1]["signal"] == "reward"
    assert (await home.get(f"{_HOME}/trip")).json()["signal"] == "reward"


async def test_a_person_trips_a_policy_and_gives_it_back(home: httpx.AsyncClient) -> None:
    tripped = await home.post(f"{_HOME}/trip", json={"why": "prices are wrong"})

    assert tripped.status_code == 200
    view = tripped.json()
    assert view["is_tripped"]
    assert view["signal"] == "person"
    assert view["serves"] == "fallback"
    assert view["recovers_at"] is None
    answer = await _act(home)
    assert answer["reason"] == "fallback"
    assert answer["reasons_detail"] == {"explored": False, "fallback": "tripped:person"}

    back = await home.post(f"{_HOME}/recover", json={"why": "prices are right"})

    assert back.json() == {
        "policy": "home",
        "is_tripped": False,
        "trip_id": None,
        "signal": None,
        "why": None,
        "since": None,
        "serves": None,
        "recovers_at": None,
    }
    assert (await _act(home))["reason"] != "fallback"


async def test_a_tripped_policy_cannot_be_tripped_again(home: httpx.AsyncClient) -> None:
    await home.post(f"{_HOME}/trip", json={"why": "prices are wrong"})

    again = await home.post(f"{_HOME}/trip", json={"why": "really"})

    assert again.status_code == 409
    assert again.json()["detail"] == "the policy is tripped already, by person"


async def test_a_policy_that_is_not_tripped_cannot_recover(home: httpx.AsyncClient) -> None:
    answer = await home.post(f"{_HOME}/recover", json={"why": "it is well"})

    assert answer.status_code == 409


@pytest.mark.parametrize("body", [{}, {"why": "  "}, {"why": "x", "who": "me"}])
async def test_a_reason_must_be_given(home: httpx.AsyncClient, body: dict[str, str]) -> None:
    answer = await home.post(f"{_HOME}/trip", json=body)

    assert answer.status_code == 422


async def test_another_reference_is_asked_for_in_the_audit(
    home: httpx.AsyncClient, redis_client: Redis
) -> None:
    answer = await home.post(f"{_HOME}/monitoring/forget", json={"why": "prices went up"})

    assert answer.status_code == 202
    newest: Any = await redis_client.xrevrange(PolicyKeys("home").audit, count=1)
    assert b"prices went up" in newest[0][1][b"b"]


@pytest.mark.parametrize("path", ["monitoring", "alarms", "trip"])
async def test_there_is_nothing_to_see_of_a_policy_that_is_not_there(
    api: httpx.AsyncClient, path: str
) -> None:
    answer = await api.get(f"/v1/policies/nobody/{path}")

    assert answer.status_code == 404


@pytest.fixture
async def locked(redis_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """An API with keys, and the policy `shop`."""
    async with running_api(settings_for(redis_url, tmp_path, api_keys=keys_setting())) as client:
        admin = {"authorization": f"Bearer {KEYS['admin']}"}
        answer = await client.put("/v1/policies/shop", json=bandit("shop"), headers=admin)
        assert answer.status_code == 201, answer.text
        yield client


@pytest.mark.parametrize("path", ["trip", "recover", "monitoring/forget"])
async def test_only_an_administrator_trips_recovers_and_forgets(
    locked: httpx.AsyncClient, path: str
) -> None:
    shop = {"authorization": f"Bearer {KEYS['shop']}"}

    answer = await locked.post(f"/v1/policies/shop/{path}", json={"why": "so"}, headers=shop)

    assert answer.status_code == 403
    assert (await locked.get("/v1/policies/shop/alarms", headers=shop)).status_code == 200
