"""POST /v1/shadow: somebody else decided; what would we have done, with the features of that moment?"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.service.conftest import Put
from tests.support.policies import bandit, sequential, with_agent

BODY: dict[str, Any] = {
    "decision_id": "theirs",
    "observation": {"vector": [1.0, 2.0]},
    "actions": ["a", "b", "c"],
    "action_id": "b",
    "propensity": 0.2,
    "behavior_policy": "legacy@7",
}


async def test_the_probability_of_the_logged_action_is_answered_and_logged(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(bandit())

    response = await api.post("/v1/shadow", json=BODY)

    shadow = response.json()["shadow"]
    assert response.status_code == 202
    # A cold linear policy scores all alike, so each of three actions has a third.
    assert shadow["probability_of_logged_action"] == pytest.approx(1 / 3)
    assert shadow["model_version"] == "home@1"
    life = (await api.get("/v1/decisions/theirs")).json()
    assert life["kind"] == "shadow"
    assert life["response"]["shadow"] == shadow


async def test_rewards_join_a_shadow_decision(api: httpx.AsyncClient, put: Put) -> None:
    await put(bandit())
    await api.post("/v1/shadow", json=BODY)

    response = await api.post("/v1/observe", json={"decision_id": "theirs", "reward": 1.0})

    assert response.json()["results"][0]["state"] == "joined"


async def test_a_retry_gives_the_same_answer(api: httpx.AsyncClient, put: Put) -> None:
    await put(bandit())

    first, second = [await api.post("/v1/shadow", json=BODY) for _ in range(2)]

    assert second.content == first.content
    assert second.headers["idempotency-replayed"] == "true"


async def test_an_action_that_was_not_available_is_refused(
    api: httpx.AsyncClient, put: Put
) -> None:
    """Failure table row 24."""
    await put(bandit())

    response = await api.post("/v1/shadow", json=BODY | {"action_id": "z"})

    assert (response.status_code, response.json()["code"]) == (422, "ActionNotShown")


async def test_a_policy_with_a_history_is_asked_through_act_which_knows_the_episode(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(with_agent(sequential(), history={"kind": "stacking", "window": 3}))

    response = await api.post("/v1/shadow", json=BODY)

    [problem] = response.json()["errors"]
    assert (response.status_code, problem["pointer"]) == (422, "/policy")
    assert "`mode: shadow`" in problem["detail"]
    assert (await api.get("/v1/decisions/theirs")).status_code == 404
