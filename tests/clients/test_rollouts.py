"""Rollouts in the SDK: the paths, the bodies, and what is read."""

from __future__ import annotations

from typing import Any

import pytest
from nacre_client import ConflictError, RolloutInfo

from tests.clients.harness import Sdk, Wire, answer, problem_body

STANDING: dict[str, Any] = {
    "policy": "digits",
    "stage": "canary",
    "live": "digits@41",
    "candidate": "digits@42",
    "step": 1,
    "share": 0.05,
    "evidence": "continue",
    "approval": None,
    "next": {"move": "stay", "why": "not decided yet"},
}


async def test_a_rollout_tells_how_it_stands(sdk: Sdk) -> None:
    wire = Wire(answer(200, STANDING))
    client = sdk.connect(wire, policy="digits")

    found = await sdk.call(client.rollout)

    assert found == RolloutInfo("digits", "canary", "digits@41", "digits@42", 1, 0.05, "continue", None, STANDING)  # fmt: skip
    assert wire.targets == ["GET /v1/policies/digits/rollout"]


async def test_a_rollout_is_started_moved_on_and_ended(sdk: Sdk) -> None:
    wire = Wire(answer(201, STANDING), answer(200, STANDING))
    client = sdk.connect(wire, policy="digits")

    await sdk.call(client.start_rollout, "digits@42", why="new", at="canary")
    await sdk.call(client.advance_rollout, why="enough")
    await sdk.call(client.abort_rollout, why="odd", quarantine=True, policy="home")

    assert wire.targets == [
        "POST /v1/policies/digits/rollout",
        "POST /v1/policies/digits/rollout/advance",
        "POST /v1/policies/home/rollout/abort",
    ]
    assert wire.bodies == [
        {"version": "digits@42", "why": "new", "at": "canary"},
        {"why": "enough"},
        {"why": "odd", "quarantine": True},
    ]


async def test_a_second_rollout_is_a_conflict(sdk: Sdk) -> None:
    wire = Wire(answer(409, problem_body(409, "RolloutRunning")))
    client = sdk.connect(wire, policy="digits")

    with pytest.raises(ConflictError):
        await sdk.call(client.start_rollout, 42, why="new")


async def test_shadows_and_events_are_passed_on(sdk: Sdk) -> None:
    wire = Wire(answer(200, {"shadows": []}), answer(200, {"events": [{"what": "rollout"}]}))
    client = sdk.connect(wire, policy="digits")

    shadows = await sdk.call(client.shadows)
    events = await sdk.call(client.events, count=5)

    assert shadows == {"shadows": []}
    assert events == [{"what": "rollout"}]
    assert wire.targets == [
        "GET /v1/policies/digits/shadows",
        "GET /v1/policies/digits/events?count=5",
    ]
