"""Policies, learning jobs, limits and health: the paths, the bodies, the waiting."""

from __future__ import annotations

import dataclasses
import time

import httpx
import pytest
from nacre_client import (
    Action,
    CatalogInfo,
    DeadlineExceededError,
    InputError,
    JobState,
    LiveVersion,
    PolicyChange,
    VersionInfo,
)

from tests.clients.harness import Sdk, Wire, answer

LIVE = {"policy": "digits", "live": "digits@42", "before": "digits@41", "is_pinned": True}
INFO = {
    "policy": "digits",
    "config": {"policy": "digits"},
    "config_hash": "c1f0",
    "feature_schema": "fs:9a",
    "live": "digits@42",
    "previous": None,
    "serving": "digits@42",
    "is_pinned": False,
    "catalog_revision": 2,
    "catalog_actions": 10,
    "counts": {"decisions": 7},
}


async def test_policies_are_listed_by_name(sdk: Sdk) -> None:
    wire = Wire(answer(200, {"policies": ["digits", "home"]}))
    client = sdk.connect(wire)

    names = await sdk.call(client.policies)

    assert names == ["digits", "home"]
    assert wire.targets == ["GET /v1/policies"]


async def test_a_policy_tells_how_it_stands(sdk: Sdk) -> None:
    wire = Wire(answer(200, {**INFO, "mood": "good"}))
    client = sdk.connect(wire, policy="usual")

    info = await sdk.call(client.get_policy, "a/b")

    assert dataclasses.asdict(info) == INFO
    assert wire.targets == ["GET /v1/policies/a%2Fb"]


async def test_versions_are_listed_with_what_made_them(sdk: Sdk) -> None:
    version = {"model_version": "digits@1", "is_live": True, "description": {"updates": 9}}
    wire = Wire(answer(200, {"versions": [{**version, "mood": "good"}]}))
    client = sdk.connect(wire, policy="digits")

    versions = await sdk.call(client.versions)

    assert versions == [VersionInfo("digits@1", True, {"updates": 9})]
    assert wire.targets == ["GET /v1/policies/digits/versions"]


@pytest.mark.parametrize("version", [42, "42", "digits@42"])
async def test_a_version_is_promoted_by_number_or_by_the_name_in_a_decision(
    sdk: Sdk, version: str | int
) -> None:
    wire = Wire(answer(200, LIVE))
    client = sdk.connect(wire, policy="digits")

    live = await sdk.call(client.promote, version, why="better clicks", pin=True)

    assert live == LiveVersion("digits", "digits@42", "digits@41", True)
    assert wire.targets == ["POST /v1/policies/digits/versions/42/promote"]
    assert wire.bodies == [{"why": "better clicks", "pin": True}]


async def test_a_rollback_may_quarantine_the_version_that_is_left(sdk: Sdk) -> None:
    wire = Wire(answer(200, LIVE))
    client = sdk.connect(wire, policy="digits")

    await sdk.call(client.rollback, why="worse clicks", quarantine=True)
    await sdk.call(client.rollback)

    assert wire.targets[0] == "POST /v1/policies/digits/rollback"
    assert wire.bodies == [{"why": "worse clicks", "quarantine": True}, {}]


@pytest.mark.parametrize(
    ("method", "target"),
    [("audit", "GET /v1/policies/digits/audit"), ("limits", "GET /v1/limits")],
)
async def test_a_plain_object_is_handed_out_as_it_came(sdk: Sdk, method: str, target: str) -> None:
    wire = Wire(answer(200, {"answer": 1}))
    client = sdk.connect(wire, policy="digits")

    result = await sdk.call(getattr(client, method))

    assert result == {"answer": 1}
    assert wire.targets == [target]


async def test_a_base_url_may_have_a_path(sdk: Sdk) -> None:
    wire = Wire(answer(200, {}))
    client = sdk.connect(wire, base_url="https://host.example/nacre/")

    await sdk.call(client.limits)

    assert str(wire.requests[0].url) == "https://host.example/nacre/v1/limits"


async def test_a_policy_is_put_under_the_name_in_its_own_file(sdk: Sdk) -> None:
    body = {"policy": "digits", "outcome": "created", "changed": ["agent"], "config_hash": "c"}
    wire = Wire(answer(201, body))
    client = sdk.connect(wire, policy="usual")

    change = await sdk.call(client.put_policy, {"policy": "digits", "agent": {"kind": "linear"}})

    assert change == PolicyChange("digits", "created", ("agent",), "c")
    assert wire.targets == ["PUT /v1/policies/digits"]
    assert wire.bodies == [{"policy": "digits", "agent": {"kind": "linear"}}]


async def test_starting_a_model_from_nothing_must_be_asked_for(sdk: Sdk) -> None:
    wire = Wire(answer(200, {"policy": "digits", "outcome": "restarted"}))
    client = sdk.connect(wire)

    await sdk.call(client.put_policy, {"policy": "digits"}, restart=True)

    assert wire.targets == ["PUT /v1/policies/digits?restart=true"]


async def test_actions_of_the_catalog_are_put_removed_and_revived(sdk: Sdk) -> None:
    body = {"policy": "digits", "revision": 3, "actions": 4, "removed": 1}
    wire = Wire(answer(200, body))
    client = sdk.connect(wire, policy="digits")
    actions = ["0", Action("1", features={"n": 1}), {"id": "2", "vector": [1.0]}]

    catalog = await sdk.call(client.put_actions, actions, remove=["9"], revive=["0"])

    assert catalog == CatalogInfo("digits", 3, 4, 1)
    assert wire.targets == ["PUT /v1/policies/digits/actions"]
    assert wire.bodies == [
        {
            "put": {"0": {}, "1": {"features": {"n": 1}}, "2": {"vector": [1.0]}},
            "remove": ["9"],
            "revive": ["0"],
        }
    ]


async def test_an_action_of_the_catalog_needs_an_id(sdk: Sdk) -> None:
    client = sdk.connect(Wire(answer()), policy="digits")

    with pytest.raises(InputError, match="an action has no id"):
        await sdk.call(client.put_actions, [{"vector": [1.0]}])


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
        promote="live",
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
            "promote": "live",
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
