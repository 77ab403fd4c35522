"""POST /v1/act over the whole application and a real Redis."""

from __future__ import annotations

import asyncio
import collections
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from redis.asyncio import Redis

from service.decisions.records import decode_response
from service.decisions.replay import replay
from service.policies.audit import audit
from tests.service.conftest import Put
from tests.support.api import settings_for
from tests.support.policies import bandit, featured, sequential, with_agent

BODY: dict[str, Any] = {"observation": {"vector": [1.0, 2.0]}, "actions": ["a", "b", "c"]}


async def act(api: httpx.AsyncClient, **changes: Any) -> httpx.Response:
    return await api.post("/v1/act", json=BODY | changes)


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["code"] == code, body
    assert body["status"] == status
    assert body["request_id"]
    return body


async def test_an_answer_says_everything_that_is_needed_to_evaluate_it(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(bandit())

    response = await act(api, decision_id="d1")

    answer = response.json()
    assert response.status_code == 200
    assert answer["decision_id"] == "d1"
    assert answer["model_version"] == "home@1"
    assert sum(ranked["probability"] for ranked in answer["ranking"]) == pytest.approx(1, abs=1e-12)
    chosen = answer["ranking"][answer["action"]["index"]]
    assert chosen["id"] == answer["action"]["id"]
    assert chosen["probability"] == answer["propensity"] == answer["assignment"]["arm_propensity"]
    assert answer["activated"] is True
    assert answer["config_hash"].startswith("c:")
    assert answer["feature_schema"].startswith("fs:")


async def test_the_unversioned_path_is_the_same_handler(api: httpx.AsyncClient, put: Put) -> None:
    await put(bandit())

    assert (await api.post("/act", json=BODY)).status_code == 200


async def test_the_same_id_again_gives_the_stored_answer_byte_for_byte(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(bandit())

    first = await act(api, decision_id="d1")
    second = await act(api, decision_id="d1")

    assert second.content == first.content
    assert second.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers


async def test_the_same_id_with_another_body_is_refused(api: httpx.AsyncClient, put: Put) -> None:
    await put(bandit())
    await act(api, decision_id="d1")

    body = problem(await act(api, decision_id="d1", subject="x"), 422, "IdempotencyMismatch")

    assert body["errors"][0]["pointer"] == "/decision_id"


async def test_many_retries_at_once_all_get_one_answer(api: httpx.AsyncClient, put: Put) -> None:
    await put(bandit())

    answers = await asyncio.gather(*[act(api, decision_id="same") for _ in range(100)])

    assert len({answer.content for answer in answers}) == 1
    counts = (await api.get("/v1/policies/home")).json()["counts"]
    assert counts["decisions"] == 1


async def test_the_idempotency_header_is_the_decision_id_where_the_body_has_none(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(bandit())

    response = await api.post("/v1/act", json=BODY, headers={"Idempotency-Key": "k1"})

    assert response.json()["decision_id"] == "k1"


async def test_actions_are_taken_as_often_as_the_log_says(api: httpx.AsyncClient, put: Put) -> None:
    """Failure table row 9: chi-squared of actions against logged probabilities, mean weight 1."""
    network = {
        "policy_learner": {"kind": "dqn"},
        "replay": {"kind": "fifo", "capacity": 100},
    }
    await put(
        with_agent(bandit(), **network, exploration={"kind": "epsilon_greedy", "epsilon": 0.6})
    )
    bodies = [BODY | {"decision_id": f"d{i}"} for i in range(1500)]

    batches = [
        await api.post("/v1/act:batch", json={"requests": bodies[at : at + 250]})
        for at in range(0, 1500, 250)
    ]

    found = audit(
        [decode_response(msgspec.json.encode(r)) for b in batches for r in b.json()["responses"]]
    )
    assert found.decisions == 1500
    assert found.low is not None
    assert found.high is not None
    assert found.low < 1 < found.high
    assert found.p_value is not None
    assert found.p_value > 0.001


async def test_excluded_actions_have_probability_zero_and_are_never_taken(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(bandit())

    answers = [(await act(api, excluded_actions=["a", "c"])).json() for _ in range(20)]

    assert {answer["action"]["id"] for answer in answers} == {"b"}
    assert [ranked["probability"] for ranked in answers[0]["ranking"]] == [0.0, 1.0, 0.0]
    assert answers[0]["ranking"][0]["score"] is None


async def test_an_action_that_was_never_seen_gets_a_finite_score_and_is_explored(
    api: httpx.AsyncClient, put: Put
) -> None:
    """Failure table row 25."""
    await put(bandit())

    answers = [(await act(api, actions=["a", "brand-new"])).json() for _ in range(40)]

    assert all(isinstance(a["ranking"][1]["score"], float) for a in answers)
    assert collections.Counter(a["action"]["id"] for a in answers)["brand-new"] > 0


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"actions": []}, "ActionSetEmpty", "/actions"),
        ({"excluded_actions": ["a", "b", "c"]}, "ActionSetEmpty", "/excluded_actions"),
        ({"actions": ["a", "b", "a"]}, "DuplicateAction", "/actions/2"),
        ({"excluded_actions": ["nobody"]}, "UnknownAction", "/excluded_actions/0"),
        ({"mode": "shadow", "baseline_action": "nobody"}, "UnknownAction", "/baseline_action"),
        ({"observation": {"vector": [1.0]}}, "InvalidRequest", "/observation/vector"),
        ({"observation": {"vector": [1.0, 1e39]}}, "InvalidRequest", "/observation/vector"),
        ({"observation": {}}, "InvalidRequest", "/observation"),
        ({"observation": {"features": {"x": 1}}}, "InvalidRequest", "/observation/features"),
        ({"actions": [{"id": "a", "vector": [1.0]}]}, "InvalidRequest", "/actions/0"),
        ({"actions": [f"a{i}" for i in range(51)]}, "TooManyActions", "/actions"),
        ({"slots": []}, "UnknownField", "/slots"),
        ({"decision_id": "x" * 257}, "InvalidRequest", "/decision_id"),
        ({"deadline_ms": 0}, "InvalidRequest", "/deadline_ms"),
    ],
)
async def test_bad_input_is_refused_with_the_field_that_is_wrong(
    api: httpx.AsyncClient, put: Put, changes: dict[str, Any], code: str, pointer: str
) -> None:
    """Failure table rows 21 to 24."""
    await put(bandit())

    body = problem(await act(api, **changes), 422, code)

    assert body["errors"][0]["pointer"].startswith(pointer)
    assert body["errors"][0]["detail"]


async def test_an_empty_set_answers_the_baseline_when_the_policy_says_so(
    api: httpx.AsyncClient, put: Put
) -> None:
    """Failure table row 23."""
    await put(bandit(empty_action_set="baseline"))

    answer = (await act(api, excluded_actions=["a", "b", "c"], baseline_action="b")).json()

    assert answer["action"]["id"] == "b"
    assert answer["reason"] == "fallback"
    assert answer["propensity"] == 1.0


@pytest.mark.parametrize("mode", ["apprentice", "shadow", "logging_only"])
async def test_a_lower_mode_answers_the_baseline_with_certainty(
    api: httpx.AsyncClient, put: Put, mode: str
) -> None:
    await put(bandit())

    answer = (await act(api, mode=mode, baseline_action="c")).json()

    assert (answer["action"]["id"], answer["propensity"], answer["reason"]) == (
        "c",
        1.0,
        "baseline",
    )
    assert answer["mode"] == mode


async def test_exploit_always_plays_the_best(api: httpx.AsyncClient, put: Put) -> None:
    await put(with_agent(bandit(), min_propensity=0.01))

    answers = [(await act(api, explore=False)).json() for _ in range(20)]

    assert {a["reason"] for a in answers} == {"policy"}


async def test_several_policies_need_a_name(api: httpx.AsyncClient, put: Put) -> None:
    await put(bandit("home"))
    await put(bandit("other"))

    assert problem(await act(api), 422, "InvalidRequest")["errors"][0]["pointer"] == "/policy"
    assert (await act(api, policy="other")).json()["model_version"] == "other@1"
    problem(await act(api, policy="third"), 404, "NotFound")


async def test_named_features_and_inline_actions_are_decided_and_a_bad_one_is_named(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(featured())
    observation = {"features": {"user": {"age": 31, "tier": "gold"}}}
    actions: list[dict[str, Any]] = [{"id": f"i{n}", "vector": [n, 1, 0]} for n in range(3)]

    good = await act(api, observation=observation, actions=actions)
    actions[1]["vector"] = [1, 2]
    bad = await act(api, observation=observation, actions=actions)

    assert good.status_code == 200, good.text
    assert problem(bad, 422, "InvalidRequest")["errors"][0]["pointer"].startswith("/actions/1")


async def test_catalog_ids_inline_features_and_bytes_give_the_same_scores(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(featured())
    table = np.array([[1, 2, 3], [0, 1, 0], [5, 0, 1]], np.float32)
    ids = ["x", "y", "z"]
    change = {"put": {i: {"vector": row.tolist()} for i, row in zip(ids, table, strict=True)}}
    assert (await api.put("/v1/policies/shop/actions", json=change)).json()["revision"] == 1
    observation = {"features": {"user": {"age": 31, "tier": "gold"}}}

    by_id = await act(api, observation=observation, actions=ids)
    inline = await act(
        api,
        observation=observation,
        actions=[{"id": i, "vector": r.tolist()} for i, r in zip(ids, table, strict=True)],
    )
    packed = msgspec.msgpack.encode(
        {
            "observation": observation,
            "actions": {"ids": ids, "vectors": table.astype("<f4").tobytes()},
        }
    )
    binary = await api.post(
        "/v1/act", content=packed, headers={"content-type": "application/msgpack"}
    )

    scores = [[r["score"] for r in answer.json()["ranking"]] for answer in (by_id, inline, binary)]
    assert scores[1] == pytest.approx(scores[0], abs=1e-6)
    assert scores[2] == pytest.approx(scores[0], abs=1e-6)


async def test_an_unknown_catalog_id_is_named(api: httpx.AsyncClient, put: Put) -> None:
    await put(featured())

    body = problem(
        await act(
            api, observation={"features": {"user": {"age": 1, "tier": "gold"}}}, actions=["nope"]
        ),
        422,
        "UnknownAction",
    )

    assert body["errors"][0]["pointer"] == "/actions/0"


async def test_msgpack_is_answered_in_msgpack_when_asked(api: httpx.AsyncClient, put: Put) -> None:
    await put(bandit())

    response = await api.post(
        "/v1/act",
        content=msgspec.msgpack.encode(BODY),
        headers={"content-type": "application/msgpack", "accept": "application/msgpack"},
    )

    assert response.headers["content-type"] == "application/msgpack"
    assert msgspec.msgpack.decode(response.content)["policy"] == "home"


async def test_a_batch_keeps_its_order_and_its_items_are_independent(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(bandit())

    response = await api.post(
        "/v1/act:batch",
        json={
            "defaults": {"observation": {"vector": [1, 2]}, "actions": ["a", "b"]},
            "requests": [{"decision_id": "one"}, {"actions": []}, {"decision_id": "three"}],
        },
    )

    one, two, three = response.json()["responses"]
    assert (one["status"], two["status"], three["status"]) == (200, 422, 200)
    assert two["problem"]["code"] == "ActionSetEmpty"
    assert (one["decision_id"], three["decision_id"]) == ("one", "three")


async def test_a_batch_beyond_the_advertised_limit_is_refused(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(bandit())
    limit = (await api.get("/v1/limits")).json()["max_batch"]

    response = await api.post("/v1/act:batch", json={"requests": [BODY] * (limit + 1)})

    body = problem(response, 422, "InvalidRequest")
    assert f"at most {limit} allowed" in str(body)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/act", 405, "MethodNotAllowed"),
        ("GET", "/v1/nothing", 404, "NotFound"),
        ("DELETE", "/healthz", 405, "MethodNotAllowed"),
    ],
)
async def test_wrong_paths_and_methods_are_problems_too(
    api: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await api.request(method, path)

    assert response.status_code == status
    assert response.json()["code"] == code


async def test_without_a_policy_the_server_says_what_to_do(api: httpx.AsyncClient) -> None:
    body = problem(await act(api), 503, "NotReady")

    assert "PUT" in body["detail"]
    assert (await api.get("/readyz")).status_code == 503
    assert (await api.get("/healthz")).status_code == 200


async def test_an_unsupported_media_type_is_refused(api: httpx.AsyncClient, put: Put) -> None:
    await put(bandit())

    response = await api.post("/v1/act", content=b"<a/>", headers={"content-type": "text/xml"})

    body = problem(response, 415, "UnsupportedMediaType")
    assert body["detail"] == "send application/json or application/msgpack"


async def test_a_passed_deadline_gives_the_declared_fallback(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(bandit(fallback="uniform"))

    answer = (await act(api, deadline_ms=0.0001)).json()

    assert answer["reason"] == "fallback"
    assert answer["reasons_detail"]["fallback"] == "deadline"
    assert answer["propensity"] == pytest.approx(1 / 3)


DENYING = {"safety": {"kind": "action_filter", "denied": ["a"]}}


async def test_safety_denies_an_action_to_the_agent_and_to_the_baseline(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(with_agent(bandit(), **DENYING))

    by_agent = [(await act(api)).json() for _ in range(20)]
    by_mode = (await act(api, mode="apprentice", baseline_action="a")).json()
    too_late = (await act(api, deadline_ms=0.0001, baseline_action="a")).json()

    assert "a" not in {answer["action"]["id"] for answer in by_agent}
    assert (by_mode["action"]["id"], by_mode["reason"]) == ("b", "safety_override")
    assert (too_late["action"]["id"], too_late["reason"]) == ("b", "safety_override")


async def test_a_denied_baseline_is_not_the_way_out_of_an_empty_set(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(with_agent(bandit(empty_action_set="baseline"), **DENYING))

    response = await act(api, excluded_actions=["b", "c"], baseline_action="a")

    body = problem(response, 422, "ActionSetEmpty")
    assert "2 excluded, the rest removed by safety" in body["detail"]


DEEP: dict[str, Any] = {
    "policy_learner": {"kind": "bootstrapped_dqn"},
    "exploration": {"kind": "deep"},
}


async def test_deep_exploration_keeps_to_one_opinion_for_an_episode(
    api: httpx.AsyncClient, put: Put, redis_client: Redis, redis_url: str, tmp_path: Path
) -> None:
    """The same state at every step: within an episode the action is the same, over episodes it is not,
    and it can be computed again."""
    await put(with_agent(sequential(), **DEEP))

    def step(episode: int, number: int) -> dict[str, Any]:
        place = {"episode_id": f"e{episode}", "step": number}
        return {"decision_id": f"{episode}.{number}", "episode": place}

    requests = [step(episode, number) for episode in range(40) for number in range(5)]
    shared = BODY | {"actions": ["left", "right"]}
    response = await api.post("/v1/act:batch", json={"defaults": shared, "requests": requests})

    taken = [answer["action"]["id"] for answer in response.json()["responses"]]
    episodes = [set(taken[at : at + 5]) for at in range(0, 200, 5)]
    assert {len(actions) for actions in episodes} == {1}
    assert set().union(*episodes) == {"left", "right"}
    found = await replay(redis_client, settings_for(redis_url, tmp_path), "7.3", "cart")
    assert found.differences == []


async def test_without_an_episode_every_decision_has_an_opinion_of_its_own(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(with_agent(sequential(), **DEEP))
    requests = [BODY | {"actions": ["left", "right"]}] * 40

    response = await api.post("/v1/act:batch", json={"requests": requests})

    taken = {answer["action"]["id"] for answer in response.json()["responses"]}
    assert taken == {"left", "right"}
