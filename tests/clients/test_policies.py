"""Policies, learning jobs, limits and health: the paths, the bodies, the waiting."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from nacre_client import DeadlineExceededError, InputError, JobState

from tests.clients.harness import Sdk, Wire, answer

CALLS: list[tuple[str, tuple[Any, ...], str]] = [
    ("policies", (), "GET /v1/policies"),
    ("get_policy", (), "GET /v1/policies/digits"),
    ("get_policy", ("a/b",), "GET /v1/policies/a%2Fb"),
    ("versions", (), "GET /v1/policies/digits/versions"),
    ("promote", (42,), "POST /v1/policies/digits/versions/42/promote"),
    ("promote", ("digits@42",), "POST /v1/policies/digits/versions/42/promote"),
    ("rollback", (), "POST /v1/policies/digits/rollback"),
    ("audit", (), "GET /v1/policies/digits/audit"),
    ("limits", (), "GET /v1/limits"),
]


@pytest.mark.parametrize(("method", "args", "target"), CALLS)
async def test_each_method_has_its_path_and_hands_out_the_answer(
    sdk: Sdk, method: str, args: Any, target: str
) -> None:
    wire = Wire(answer(200, {"answer": 1}))
    client = sdk.connect(wire, policy="digits")

    result = await sdk.call(getattr(client, method), *args)

    assert wire.targets == [target]
    assert result == {"answer": 1}


async def test_a_base_url_may_have_a_path(sdk: Sdk) -> None:
    wire = Wire(answer(200, {}))
    client = sdk.connect(wire, base_url="https://host.example/nacre/")

    await sdk.call(client.limits)

    assert str(wire.requests[0].url) == "https://host.example/nacre/v1/limits"


async def test_a_policy_is_put_under_the_name_in_its_own_file(sdk: Sdk) -> None:
    wire = Wire(answer(200, {}))
    client = sdk.connect(wire, policy="usual")

    await sdk.call(client.put_policy, {"policy": "digits", "agent": {"kind": "linear"}})

    assert wire.targets == ["PUT /v1/policies/digits"]
    assert wire.bodies == [{"policy": "digits", "agent": {"kind": "linear"}}]


async def test_actions_of_the_catalog_are_put_and_removed(sdk: Sdk) -> None:
    wire = Wire(answer(200, {}))
    client = sdk.connect(wire, policy="digits")

    await sdk.call(client.put_actions, [{"id": "0", "vector": [1.0]}], remove=["9"])
    await sdk.call(client.put_actions, ["1"])

    assert wire.targets[0] == "PUT /v1/policies/digits/actions"
    assert wire.bodies == [
        {"actions": [{"id": "0", "vector": [1.0]}], "remove": ["9"]},
        {"actions": ["1"]},
    ]


async def test_a_policy_must_be_named_somewhere(sdk: Sdk) -> None:
    client = sdk.connect(Wire(answer()))

    with pytest.raises(InputError, match="no policy is named; expected one in the call or in"):
        await sdk.call(client.audit)


async def test_learn_starts_a_job_and_wait_sees_its_end(sdk: Sdk) -> None:
    done = {"job_id": "j/1", "policy": "digits", "status": "succeeded", "candidate": "digits@43"}
    wire = Wire(
        answer(202, {"job_id": "j/1", "policy": "digits", "status": "queued"}),
        answer(200, {"job_id": "j/1", "policy": "digits", "status": "running"}),
        answer(200, done),
    )
    client = sdk.connect(wire, policy="digits")

    job = await sdk.call(
        client.learn,
        new_transitions=1000,
        max_steps=200,
        max_seconds=60,
        promote="gate",
        dry_run=True,
    )
    final = await sdk.call(job.wait, poll_s=0.001)

    assert final == job.state == JobState("j/1", "succeeded", "digits", done)
    assert final.detail["candidate"] == "digits@43"
    assert wire.targets == [
        "POST /v1/learn",
        "GET /v1/learn/jobs/j%2F1",
        "GET /v1/learn/jobs/j%2F1",
    ]
    assert wire.bodies == [
        {
            "policy": "digits",
            "until": {"new_transitions": 1000, "max_steps": 200, "max_seconds": 60},
            "promote": "gate",
            "dry_run": True,
        }
    ]


async def test_waiting_for_a_job_ends_with_the_time_allowed(sdk: Sdk) -> None:
    wire = Wire(answer(200, {"job_id": "j", "status": "running"}))
    client = sdk.connect(wire)
    job = await sdk.call(client.job, "j")
    start_s = time.monotonic()

    with pytest.raises(DeadlineExceededError, match="job j is still running"):
        await sdk.call(job.wait, timeout_s=0.05, poll_s=10.0)

    assert time.monotonic() - start_s < 2.0


async def test_a_healthy_service_says_so(sdk: Sdk) -> None:
    wire = Wire(answer(200, {"status": "ok"}))
    client = sdk.connect(wire)

    health = await sdk.call(client.health)

    assert health.is_ok
    assert health.detail == {"status": "ok"}
    assert wire.targets == ["GET /healthz"]


async def test_a_service_that_is_not_ready_is_an_answer_and_not_an_error(sdk: Sdk) -> None:
    wire = Wire(answer(503, {"code": "NotReady"}))
    client = sdk.connect(wire)

    ready = await sdk.call(client.ready)

    assert not ready.is_ok
    assert ready.detail == {"code": "NotReady"}
    assert wire.targets == ["GET /readyz"]


@pytest.mark.parametrize("given", [httpx.Response(200, text="ok"), answer(200, [])])
async def test_a_health_answer_need_not_be_an_object(sdk: Sdk, given: httpx.Response) -> None:
    client = sdk.connect(Wire(given))

    health = await sdk.call(client.health)

    assert health.is_ok
    assert health.detail == {}
