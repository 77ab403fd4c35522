"""`nacre replay` on a running service: what is logged is what was computed, bit by bit."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from service.decisions.records import decode_record, decode_response, encode_record
from service.decisions.replay import Replayed, ReplayError, replay
from service.repository import PolicyKeys
from service.settings import Settings
from tests.support.deployment import Deployment
from tests.support.policies import featured
from tests.support.processes import Children, wait_until

pytestmark = pytest.mark.faults

CATALOG = {f"item-{at}": {"vector": [at / 7, -at / 3, 1.0]} for at in range(12)}
GOES = "item-2"
STAY = [action_id for action_id in CATALOG if action_id != GOES]


def _act(stack: Deployment, **changes: Any) -> str:
    body = {
        "policy": "served",
        "observation": {"features": {"user": {"age": 33.3, "tier": "gold"}}},
        "actions": STAY,
    }
    answer = stack.http.post("/v1/act", json=body | changes)
    assert answer.status_code == 200, answer.text
    decision_id: str = answer.json()["decision_id"]
    return decision_id


@pytest.fixture(scope="module")
def logged(stack: Deployment) -> dict[str, str]:
    """Decisions of one policy before and after swaps and changes of its catalog, by what they are."""
    stack.register(featured("served"))
    _put(stack, {"put": CATALOG})
    own = [{"id": "x", "vector": [0.1, 0.2, 0.3]}, {"id": "y", "vector": [1, 2, 3]}]
    made = {
        "catalog": _act(stack, actions=list(CATALOG)),
        "greedy": _act(stack, explore=False),
        "excluded": _act(stack, excluded_actions=["item-0", "item-3"]),
        "own features": _act(stack, actions=own),
        "own id": _act(stack, decision_id="order/7 ü"),
        "baseline": _act(stack, mode="logging_only", baseline_action="item-5"),
        "apprentice": _act(stack, mode="apprentice"),
        "too late": _act(stack, deadline_ms=0.0001, baseline_action="item-1"),
    }
    for decision_id in [made["catalog"], made["greedy"]]:
        stack.http.post(
            "/v1/observe",
            json={
                "policy": "served",
                "decision_id": decision_id,
                "components": {"click": 1, "dwell_s": 0.7},
                "final": True,
            },
        )
    wait_until(lambda: _serving(stack) > 1, what="a version that has learned")
    made["after a swap"] = _act(stack)
    _put(stack, {"put": {"item-1": {"vector": [9, 9, 9]}}, "remove": [GOES]})
    made["after a catalog change"] = _act(stack)
    return made


def _put(stack: Deployment, change: dict[str, Any]) -> None:
    answer = stack.http.put("/v1/policies/served/actions", json=change)
    assert answer.status_code == 200, answer.text


def _serving(stack: Deployment) -> int:
    label: str = stack.http.get("/v1/policies/served").json()["serving"]
    return int(label.rpartition("@")[2])


async def _replayed(stack: Deployment, decision_id: str) -> Replayed:
    settings = Settings.model_validate(
        {"REDIS_URL": stack.redis_url, "artefacts": stack.artefacts, "archive": stack.folder}
    )
    async with Redis.from_url(stack.redis_url) as client:
        return await replay(client, settings, decision_id, "served")


async def test_every_kind_of_decision_is_computed_again_bit_by_bit(
    stack: Deployment, logged: dict[str, str]
) -> None:
    """Failure table row 20: after swaps and catalog changes too."""
    replayed = {name: await _replayed(stack, decision_id) for name, decision_id in logged.items()}

    assert [one.differences for one in replayed.values()] == [[]] * len(logged)
    assert replayed["catalog"].model_version == "served@1"
    assert replayed["after a swap"].model_version != "served@1"


async def test_a_record_that_was_changed_is_reported(
    stack: Deployment, logged: dict[str, str]
) -> None:
    """Failure table row 20: one bit of one score is enough."""
    decision_id = _act(stack)
    with stack.redis() as client:
        key = PolicyKeys("served").decision_prefix + decision_id
        record = decode_record(client.hget(key, "b"))  # type: ignore[arg-type]  # decodes nothing
        response = msgspec.to_builtins(decode_response(record.response))
        response["ranking"][4]["score"] += 2**-40
        forged = msgspec.structs.replace(record, response=msgspec.json.encode(response))
        client.hset(key, "b", encode_record(forged))

    differences = (await _replayed(stack, decision_id)).differences

    assert [one.split(":")[0] for one in differences] == ["ranking"]


async def test_what_cannot_be_computed_again_says_what_is_missing(
    stack: Deployment, logged: dict[str, str]
) -> None:
    with pytest.raises(ReplayError, match="no policy knows it"):
        await _replayed(stack, "never-made")


def test_the_command_tells_a_true_record_from_a_forged_one(
    stack: Deployment, logged: dict[str, str], children: Children
) -> None:
    """Failure table row 20: exit code 0 for identical, 1 for different, 2 for impossible."""
    forged = _act(stack)
    with stack.redis() as client:
        key = PolicyKeys("served").decision_prefix + forged
        record = decode_record(client.hget(key, "b"))  # type: ignore[arg-type]  # decodes nothing
        lie = record.response.replace(b'"propensity":0.', b'"propensity":1.', 1)
        client.hset(key, "b", encode_record(msgspec.structs.replace(record, response=lie)))

    environment = stack.environment()
    asked = [logged["after a swap"], forged, "never-made"]
    commands = [
        children.nacre("replay", one, "--policy", "served", "--json", environment=environment)
        for one in asked
    ]
    codes = [command.wait(timeout_s=60) for command in commands]
    said = [json.loads(command.output()) for command in commands[:2]]

    assert codes == [0, 1, 2]
    assert said[0]["differences"] == []
    assert said[1]["differences"][0].startswith("propensity:")
    assert "no policy knows it" in commands[2].output()
