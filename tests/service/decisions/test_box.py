"""A policy that makes continuous actions, over the whole application and a real Redis."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from agent_core.types import Transition
from service.archive.logic import event_of
from service.clock import now_ms
from service.decisions.records import decode_record
from service.decisions.replay import replay
from service.decisions.repository import read_record
from service.joining.frames import Frames
from service.joining.joiner import Joiner, Watched
from service.joining.repository import JoinRepository
from service.policies.config import parse_policy
from service.policies.repository import PolicyRepository
from service.replay.codec import CERTAIN_DENSITY, decode_transition
from service.repository import PolicyKeys
from tests.service.conftest import Put
from tests.support.api import settings_for
from tests.support.policies import bandit, steering, with_agent

KEYS = PolicyKeys("steer")
BODY: dict[str, Any] = {"observation": {"vector": [1.0, 2.0]}}
LOW, HIGH = [-2.0, 0.0], [2.0, 1.0]
"""The box of `steering`: of volume 4, centred at [0, 0.5]."""


async def act(api: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    response = await api.post("/v1/act", json=BODY | changes)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def refusal(api: httpx.AsyncClient, **changes: Any) -> tuple[int, str, str]:
    response = await api.post("/v1/act", json=BODY | changes)
    body = response.json()
    return response.status_code, body["errors"][0]["pointer"], body["errors"][0]["code"]


async def test_the_answer_is_a_vector_in_the_box_with_its_density(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(steering())

    answers = [await act(api) for _ in range(20)]

    for answer in answers:
        assert set(answer["action"]) == {"value"}
        pairs = zip(answer["action"]["value"], LOW, HIGH, strict=True)
        assert all(low <= number <= high for number, low, high in pairs)
        assert answer["propensity"] > 0
        assert answer["assignment"]["arm_propensity"] == answer["propensity"]
        assert answer["reason"] == "explore"
        assert "ranking" not in answer
    assert len({tuple(answer["action"]["value"]) for answer in answers}) == 20


async def test_an_action_that_was_not_drawn_has_no_density(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(steering())

    answers = [await act(api, explore=False) for _ in range(2)]

    assert answers[0]["action"] == answers[1]["action"]
    assert [answer["propensity"] for answer in answers] == [None, None]
    assert [answer["reason"] for answer in answers] == ["policy", "policy"]


async def test_the_same_id_again_gives_the_stored_answer_byte_for_byte(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(steering())

    first, second = [await api.post("/v1/act", json=BODY | {"decision_id": "d"}) for _ in range(2)]

    assert second.content == first.content
    assert second.headers["idempotency-replayed"] == "true"


async def test_a_caller_may_say_which_box_it_expects(api: httpx.AsyncClient, put: Put) -> None:
    await put(steering())
    space = {"type": "box", "low": LOW, "high": HIGH}

    await act(api, action_space=space)
    narrower = await refusal(api, action_space=space | {"high": [1.0, 1.0]})
    longer = await refusal(api, action_space=space | {"low": [-2.0, 0.0, 0.0]})

    assert narrower == longer == (422, "/action_space", "mismatch")


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"actions": ["a", "b"]}, "/actions", "wrong_kind"),
        ({"actions": []}, "/actions", "wrong_kind"),
        ({"excluded_actions": ["a"]}, "/excluded_actions", "wrong_kind"),
        ({"baseline_action": "a"}, "/baseline_action", "wrong_kind"),
        ({"baseline_action": [0.0]}, "/baseline_action", "wrong_length"),
        ({"baseline_action": [0.0, 1.5]}, "/baseline_action/1", "outside"),
        (
            {"action_space": {"type": "sphere", "low": [], "high": []}},
            "/action_space/type",
            "invalid",
        ),
    ],
)
async def test_what_belongs_to_sets_is_refused(
    api: httpx.AsyncClient, put: Put, changes: dict[str, Any], pointer: str, code: str
) -> None:
    await put(steering())

    assert await refusal(api, **changes) == (422, pointer, code)


async def test_a_policy_that_chooses_from_sets_refuses_a_box_and_needs_actions(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(bandit())
    space = {"type": "box", "low": LOW, "high": HIGH}

    without = await refusal(api)
    instead = await refusal(api, action_space=space)
    besides = await refusal(api, actions=["a", "b"], action_space=space)
    vector = await refusal(api, actions=["a", "b"], baseline_action=[0.0, 0.5])

    assert without == (422, "/actions", "required")
    assert instead == besides == (422, "/action_space", "wrong_kind")
    assert vector == (422, "/baseline_action", "unknown_action")


@pytest.mark.parametrize("mode", ["apprentice", "shadow", "logging_only"])
@pytest.mark.parametrize(
    ("baseline", "expected"), [({}, [0.0, 0.5]), ({"baseline_action": [1.5, 0.25]}, [1.5, 0.25])]
)
async def test_a_lower_mode_answers_the_baseline_or_the_centre(
    api: httpx.AsyncClient, put: Put, mode: str, baseline: dict[str, Any], expected: list[float]
) -> None:
    await put(steering())

    answer = await act(api, mode=mode, **baseline)

    assert answer["action"] == {"value": expected}
    assert (answer["propensity"], answer["reason"]) == (None, "baseline")


@pytest.mark.parametrize(
    ("fallback", "expected"), [("baseline", [1.5, 0.25]), ("first", [0.0, 0.5])]
)
async def test_too_late_is_answered_by_the_fallback(
    api: httpx.AsyncClient, put: Put, fallback: str, expected: list[float]
) -> None:
    await put(steering(fallback=fallback))

    answer = await act(api, deadline_ms=0.0001, baseline_action=[1.5, 0.25])

    assert answer["action"] == {"value": expected}
    assert answer["propensity"] is None
    assert answer["reasons_detail"]["fallback"] == "deadline"


async def test_a_uniform_fallback_has_the_density_of_the_whole_box(
    api: httpx.AsyncClient, put: Put
) -> None:
    """The volume is 4 x 1, so the density is 1 / 4."""
    await put(steering(fallback="uniform"))

    answers = [await act(api, deadline_ms=0.0001) for _ in range(20)]

    assert {answer["propensity"] for answer in answers} == {0.25}
    assert len({tuple(answer["action"]["value"]) for answer in answers}) == 20


async def test_every_kind_of_decision_is_computed_again_bit_by_bit(
    api: httpx.AsyncClient, put: Put, redis_client: Redis, redis_url: str, tmp_path: Path
) -> None:
    await put(steering(fallback="uniform"))
    kinds: list[dict[str, Any]] = [
        {},
        {"explore": False},
        {"mode": "apprentice", "baseline_action": [0.1, 0.2]},
        {"deadline_ms": 0.0001},
        {"episode": {"episode_id": "e", "step": 0}},
    ]
    made = [(await act(api, **kind))["decision_id"] for kind in kinds]
    settings = settings_for(redis_url, tmp_path)

    found = [await replay(redis_client, settings, decision_id, "steer") for decision_id in made]

    assert [one.differences for one in found] == [[]] * len(kinds)


async def test_a_batch_of_continuous_actions_keeps_its_order(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(steering())
    items = [{"decision_id": "one"}, {"actions": ["a"]}, {"decision_id": "three"}]

    response = await api.post("/v1/act:batch", json={"defaults": BODY, "requests": items})

    one, two, three = response.json()["responses"]
    assert (one["status"], two["status"], three["status"]) == (200, 422, 200)
    assert (one["decision_id"], three["decision_id"]) == ("one", "three")


async def test_a_shadow_of_a_continuous_policy_is_refused(api: httpx.AsyncClient, put: Put) -> None:
    await put(steering())
    body = {"actions": ["a"], "action_id": "a", "behavior_policy": "legacy"}

    response = await api.post("/v1/shadow", json=BODY | body)

    assert response.status_code == 422
    assert response.json()["errors"][0]["code"] == "wrong_kind"


# -- what is learned from it ----------------------------------------------------------------------


async def joined(client: Redis, document: dict[str, Any]) -> dict[str, Transition]:
    """The finished transitions, by decision id."""
    policies, joins = PolicyRepository(client), JoinRepository(client)
    meta = await policies.meta(KEYS)
    assert meta is not None
    watched = Watched(KEYS, parse_policy(document), meta, frozenset())
    [due] = await joins.due([KEYS], now_ms(), 100)
    await Joiner(joins, Frames(policies)).join(watched, due, now_ms())
    entries: Any = await client.xrange(KEYS.replay)
    made = [decode_transition(fields[b"b"]).transition for _, fields in entries]
    return {one.decision_id: one for one in made}


async def step(api: httpx.AsyncClient, number: int, **changes: Any) -> dict[str, Any]:
    name = f"e.{number}"
    place = {"episode_id": "e", "step": number}
    seen = {"vector": [number, 1.0]}
    answer = await act(api, decision_id=name, episode=place, observation=seen, **changes)
    body = {"decision_id": name, "reward": number, "final": True}
    assert (await api.post("/v1/observe", json=body)).status_code == 202
    return answer


async def test_a_continuous_action_is_learned_as_a_set_of_one(
    api: httpx.AsyncClient, put: Put, redis_client: Redis
) -> None:
    await put(steering())
    answers = [await step(api, 0), await step(api, 1), await step(api, 2, explore=False)]
    end = {"status": "truncated", "next_observation": {"vector": [9.0, 9.0]}}
    await api.post("/v1/episodes/e/seal", json=end)

    made = await joined(redis_client, steering())

    first, second, third = (made[f"e.{number}"] for number in range(3))
    values = [answer["action"]["value"] for answer in answers]
    assert [one.actions.features.tolist() for one in (first, second, third)] == [
        [value] for value in values
    ]
    assert [one.action for one in (first, second, third)] == [0, 0, 0]
    assert first.propensity == answers[0]["propensity"]
    assert third.propensity == CERTAIN_DENSITY
    assert first.next_actions is not None
    assert first.next_actions.features.tolist() == [values[1]]
    assert (first.next_action, first.episode_id, second.step) == (0, "e", 1)
    assert third.next_state is not None
    assert third.next_state.tolist() == [9.0, 9.0]
    assert (third.next_actions, third.next_action, third.truncated) == (None, None, True)


async def test_the_end_of_an_episode_takes_no_sets_either(api: httpx.AsyncClient, put: Put) -> None:
    await put(steering())
    await step(api, 0)
    end = {"status": "truncated", "next_observation": {"vector": [9.0, 9.0]}}

    response = await api.post("/v1/episodes/e/seal", json=end | {"next_available_actions": ["a"]})

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/next_available_actions"


async def test_a_history_remembers_continuous_actions(
    api: httpx.AsyncClient, put: Put, redis_client: Redis, redis_url: str, tmp_path: Path
) -> None:
    """Two steps in sight: a flag, two observed and two action numbers of the step before."""
    document = with_agent(steering(), history={"kind": "stacking", "window": 2})
    await put(document)
    value = (await step(api, 0))["action"]["value"]
    await step(api, 1)
    await api.post("/v1/episodes/e/seal", json={"status": "terminated"})

    found = await replay(redis_client, settings_for(redis_url, tmp_path), "e.1", "steer")
    made = await joined(redis_client, document)

    body = await read_record(redis_client, KEYS, "e.1")
    assert body is not None
    carry = struct.unpack("<5f", decode_record(body).carry)
    assert carry == pytest.approx([1, 0, 1, *value], abs=0)
    assert found.differences == []
    after = made["e.0"].next_state
    assert after is not None
    assert after.tolist() == [*carry, 1, 1, 1, 0, 0]


async def test_a_transition_of_our_own_must_agree_with_the_log(
    api: httpx.AsyncClient, put: Put
) -> None:
    await put(steering())
    answer = await act(api, decision_id="d")
    density = answer["propensity"]
    said = {"decision_id": "d", "reward": 1.0}

    agreed = await api.post(
        "/v1/observe", json={"transition": said | {"observation": BODY["observation"]}}
    )
    wrong = await api.post(
        "/v1/observe", json={"transition": said | {"propensity": min(1.0, density) / 2}}
    )

    assert agreed.json()["results"][0]["state"] == "joined"
    assert (wrong.status_code, wrong.json()["code"]) == (409, "Contradiction")
    assert math.isfinite(density)


LOGGED: dict[str, Any] = {
    "episode_id": "theirs",
    "step": 3,
    "observation": {"vector": [0, 1]},
    "action": {"value": [0.5, 0.25]},
    "propensity": 2.5,
    "behavior_policy": "legacy@7",
    "reward": 1.0,
    "next_observation": {"vector": [1, 1]},
}


@pytest.mark.parametrize(("density", "kept"), [(2.5, 2.5), (1e57, 1e57), (None, CERTAIN_DENSITY)])
async def test_a_logged_continuous_action_reaches_the_learner(
    api: httpx.AsyncClient, put: Put, redis_client: Redis, density: float | None, kept: float
) -> None:
    await put(steering())

    body = {"transition": LOGGED | {"propensity": density}}
    response = await api.post("/v1/observe", json=body)

    assert response.json()["results"][0]["state"] == "joined"
    entries: Any = await redis_client.xrange(KEYS.replay)
    [(_, fields)] = entries
    made = decode_transition(fields[b"b"]).transition
    assert made.actions.features.tolist() == [[0.5, 0.25]]
    assert (made.action, made.propensity, made.step) == (0, kept, 3)
    assert made.next_state is not None


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"action": {"id": "a"}}, "/transition/action"),
        ({"action": {}}, "/transition/action"),
        ({"action": {"value": [0.5]}}, "/transition/action/value"),
        ({"action": {"value": [0.5, 1.5]}}, "/transition/action/value/1"),
        ({"available_actions": ["a"]}, "/transition/available_actions"),
        ({"next_available_actions": ["a"]}, "/transition/next_available_actions"),
        ({"propensity": 0.0}, "/transition/propensity"),
    ],
)
async def test_a_bad_logged_action_is_refused_with_its_field(
    api: httpx.AsyncClient, put: Put, changes: dict[str, Any], pointer: str
) -> None:
    await put(steering())

    refused = await api.post("/v1/observe", json={"transition": LOGGED | changes})

    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["pointer"] == pointer


async def test_an_audit_of_densities_is_refused(api: httpx.AsyncClient, put: Put) -> None:
    await put(steering())
    await act(api)

    response = await api.get("/v1/policies/steer/audit")

    assert response.status_code == 422
    assert response.json()["errors"][0]["code"] == "wrong_kind"


async def test_the_archive_knows_version_and_density(
    api: httpx.AsyncClient, put: Put, redis_client: Redis
) -> None:
    await put(steering())
    answer = await act(api, decision_id="d")
    body = await read_record(redis_client, KEYS, "d")
    assert body is not None

    event = event_of(b"1-0", {b"t": b"decision", b"d": b"d", b"b": body})

    assert (event.model_version, event.action_id) == ("steer@1", None)
    assert event.propensity == answer["propensity"]
