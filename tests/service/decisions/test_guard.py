"""Decisions that need a person: answered by the fallback, or held until one has spoken."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from service.decisions.replay import replay
from tests.service.conftest import Put
from tests.support.api import settings_for
from tests.support.policies import steering
from tests.support.served import neural

# Represented actions are one-hot: feature 2 is 1 for `c` alone, which therefore needs a person.
_NOT_C = [{"feature": 2, "op": "<=", "value": 0.5}]
_BODY: dict[str, Any] = {"observation": {"vector": [1.0, -2.0]}, "actions": ["a", "b", "c"]}


def _policy(otherwise: str = "fallback", **rule: Any) -> dict[str, Any]:
    approval = {"envelope": _NOT_C, "otherwise": otherwise, **rule}
    return neural(approval=approval, fallback="first")


async def _answers(api: httpx.AsyncClient, count: int) -> list[httpx.Response]:
    return [await api.post("/v1/act", json=_BODY | {"decision_id": f"d{n}"}) for n in range(count)]


async def _held(api: httpx.AsyncClient) -> dict[str, Any]:
    """The first decision that is held."""
    for answer in await _answers(api, 200):
        if answer.status_code == 202:
            found: dict[str, Any] = answer.json()
            return found
    raise AssertionError("no proposal left the envelope")


async def test_the_fallback_answers_for_what_a_person_must_see(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(neural())
    alone = (await api.post("/v1/act", json=_BODY)).json()
    await put(_policy())

    answers = [answer.json() for answer in await _answers(api, 200)]

    p = {one["id"]: one["probability"] for one in alone["ranking"]}
    composed = {one["id"]: one["probability"] for one in answers[0]["ranking"]}
    # All that `c` had goes to the fallback, which is the first action.
    assert composed == pytest.approx({"a": p["a"] + p["c"], "b": p["b"], "c": 0.0})
    reasons = Counter((one["reason"], one["reasons_detail"].get("fallback")) for one in answers)
    assert 0 < reasons["fallback", "approval"] < 200
    assert {one["action"]["id"] for one in answers} <= {"a", "b"}
    pending = (await api.get("/v1/approvals")).json()
    assert pending["pending"] == reasons["fallback", "approval"]


async def test_a_held_decision_is_made_when_a_person_agrees(
    api: httpx.AsyncClient, put: Put, redis_url: str, tmp_path: Path
) -> None:
    await put(_policy("hold"))
    held = await _held(api)
    address = f"/v1/approvals/home/{held['approval_id']}"
    before = await api.get(f"/v1/decisions/{held['decision_id']}")

    await api.post(f"{address}/approve", json={"why": "it is fine"})

    life = (await api.get(f"/v1/decisions/{held['decision_id']}")).json()["response"]
    assert before.status_code == 404
    assert (life["action"]["id"], life["reason"]) == ("c", "human")
    settings = settings_for(redis_url, tmp_path)
    async with Redis.from_url(redis_url) as client:
        found = await replay(client, settings, held["decision_id"], "home")
    assert found.differences == []


async def test_a_rejected_decision_is_the_fallbacks(
    api: httpx.AsyncClient, put: Put, redis_url: str, tmp_path: Path
) -> None:
    await put(_policy("hold"))
    held = await _held(api)

    await api.post(f"/v1/approvals/home/{held['approval_id']}/reject", json={"why": "no"})

    again = await api.post("/v1/act", json=_BODY | {"decision_id": held["decision_id"]})
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.json()["action"]["id"], again.json()["reason"]) == ("a", "fallback")
    settings = settings_for(redis_url, tmp_path)
    async with Redis.from_url(redis_url) as client:
        found = await replay(client, settings, held["decision_id"], "home")
    assert found.differences == []


async def test_a_decision_is_computed_again_under_the_rules_that_it_was_made_with(
    api: httpx.AsyncClient, put: Put, redis_url: str, tmp_path: Path
) -> None:
    await put(_policy())
    answers = [answer.json() for answer in await _answers(api, 20)]
    await put(neural(fallback="first"))

    settings = settings_for(redis_url, tmp_path)
    async with Redis.from_url(redis_url) as client:
        found = [await replay(client, settings, one["decision_id"], "home") for one in answers]

    assert [one.differences for one in found] == [[]] * 20


async def test_a_retry_of_a_held_decision_waits_for_the_same_person(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(_policy("hold"))
    held = await _held(api)

    again = await api.post("/v1/act", json=_BODY | {"decision_id": held["decision_id"]})

    assert (again.status_code, again.json()) == (202, held)
    assert again.headers["location"] == f"/v1/approvals/home/{held['approval_id']}"


async def test_a_batch_tells_which_of_its_decisions_are_held(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(_policy("hold"))

    asked = [_BODY | {"decision_id": f"d{n}"} for n in range(200)]
    answer = await api.post("/v1/act:batch", json={"requests": asked})

    statuses = Counter(item["status"] for item in answer.json()["responses"])
    assert set(statuses) == {200, 202}
    held = next(item for item in answer.json()["responses"] if item["status"] == 202)
    assert held["state"] == "held"


async def test_more_than_may_wait_are_answered_at_once(api: httpx.AsyncClient, put: Put) -> None:
    await put(_policy("hold", most_pending=1))

    statuses = Counter(answer.status_code for answer in await _answers(api, 200))

    assert statuses[202] == 1
    assert statuses[200] == 199


async def test_a_held_decision_counts_once_as_held_and_not_as_its_fallback(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(_policy("hold"))

    statuses = Counter(answer.status_code for answer in await _answers(api, 200))
    await _answers(api, 200)  # the same ids again

    assert statuses[202] > 0
    assert _counted("nacre_decisions_total", reason="held") == statuses[202]
    assert _counted("nacre_decisions_total", reason="fallback") == 0
    assert _counted("nacre_fallbacks_total", why="approval") == 0
    assert _counted("nacre_decisions_replayed_total") == 200


async def test_what_is_answered_because_too_many_wait_counts_as_the_fallback(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(_policy("hold", most_pending=1))

    reasons = Counter(answer.json().get("reason", "held") for answer in await _answers(api, 200))

    assert reasons["fallback"] > 0
    for reason in ("held", "fallback"):
        assert _counted("nacre_decisions_total", reason=reason) == reasons[reason]
    assert _counted("nacre_fallbacks_total", why="approval") == reasons["fallback"]


def _counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"policy": "home", **labels}) or 0.0


async def test_a_policy_that_is_not_sure_asks(api: httpx.AsyncClient, put: Put) -> None:
    await put(neural(approval={"least_confidence": 1.0}, fallback="uniform"))

    answer = (await api.post("/v1/act", json=_BODY)).json()

    assert answer["reason"] == "fallback"
    assert answer["propensity"] == pytest.approx(1 / 3)


async def test_continuous_actions_have_no_envelope(api: httpx.AsyncClient) -> None:
    answer = await api.put("/v1/policies/steer", json=steering(approval={"least_confidence": 0.5}))

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/approval"
