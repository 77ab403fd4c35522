"""Decisions and promotions that wait for a person: asking, waiting, answering."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from nacre_client import (
    ConflictError,
    DeadlineExceededError,
    Decision,
    Held,
    HeldError,
    NacreError,
    NotFoundError,
    PermissionDeniedError,
    ProblemItem,
)

from tests.clients.harness import Sdk, Wire, answer, decision_body, problem_body

SOON = (datetime.now(UTC) + timedelta(minutes=1)).replace(microsecond=0)


def held_body(**changes: Any) -> dict[str, Any]:
    """What the service answers to /v1/act when a person must decide."""
    return {
        "decision_id": "d-1",
        "policy": "digits",
        "state": "held",
        "approval_id": "dab",
        "deadline": SOON.isoformat(),
        **changes,
    }


def approval_body(state: str = "pending", **changes: Any) -> dict[str, Any]:
    """What the service answers to /v1/approvals/digits/dab."""
    return {
        "approval_id": "dab",
        "policy": "digits",
        "kind": "decision",
        "state": state,
        "requester": "shop",
        "asked_at": "2026-11-20T21:00:00.000Z",
        "deadline": SOON.isoformat(),
        "causes": ["envelope.0"],
        "decision_id": "d-1",
        "is_held": True,
        **changes,
    }


HELD = Held("d-1", "digits", "dab", SOON)
MISSING = problem_body(404, "NotFound")


async def test_a_decision_that_waits_for_a_person_is_an_error_that_says_where(sdk: Sdk) -> None:
    client = sdk.connect(Wire(answer(202, held_body())), fallback="baseline")

    with pytest.raises(HeldError, match="waits for a person") as caught:
        await sdk.call(client.act, [1.0], ["news", "sport"])

    assert caught.value.held == HELD


async def test_waiting_gets_the_decision_when_the_person_has_answered(sdk: Sdk) -> None:
    approved = approval_body("approved", response=decision_body(reason="human"), by="ana")
    wire = Wire(answer(200, approval_body()), answer(200, approved))
    client = sdk.connect(wire)

    decision = await sdk.call(client.wait, HELD)

    assert isinstance(decision, Decision)
    assert (decision.reason, decision.action.id) == ("human", "sport")
    assert wire.targets == ["GET /v1/approvals/digits/dab?wait_s=20"] * 2


async def test_waiting_ends_when_the_time_is_over(sdk: Sdk) -> None:
    client = sdk.connect(Wire(answer(200, approval_body())))

    with pytest.raises(DeadlineExceededError, match="waits still"):
        await sdk.call(client.wait, HELD, timeout_s=0.001)


@pytest.mark.parametrize("state", ["rejected", "expired"])
async def test_a_no_is_a_decision_of_the_fallback(sdk: Sdk, state: str) -> None:
    body = approval_body(state, response=decision_body(reason="fallback"))
    client = sdk.connect(Wire(answer(200, body)))

    assert (await sdk.call(client.wait, HELD)).reason == "fallback"


async def test_what_is_void_never_becomes_a_decision(sdk: Sdk) -> None:
    client = sdk.connect(Wire(answer(200, approval_body("void"))))

    with pytest.raises(NacreError, match="dab is void"):
        await sdk.call(client.wait, HELD)


async def test_an_approval_that_redis_does_not_have_yet_is_waited_for(
    sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("_client", "_async_client"):
        monkeypatch.setattr(f"nacre_client.{module}.PAUSE_S", 0.0)
    approved = approval_body("approved", response=decision_body())
    client = sdk.connect(Wire(answer(404, MISSING), answer(404, MISSING), answer(200, approved)))

    assert (await sdk.call(client.wait, HELD)).decision_id == "d-1"
    client = sdk.connect(Wire(answer(404, MISSING)))
    with pytest.raises(NotFoundError):
        await sdk.call(client.wait, HELD, timeout_s=0)


async def test_the_long_wait_at_the_service_does_not_count_as_silence(sdk: Sdk) -> None:
    wire = Wire(answer(200, approval_body("approved")))
    client = sdk.connect(wire, policy="digits", timeout_s=5)

    await sdk.call(client.approval, "dab", wait_s=20)

    timeout = wire.requests[0].extensions["timeout"]
    assert 20 < timeout.get("read") <= 25


async def test_held_items_of_a_batch_stand_beside_the_others(sdk: Sdk) -> None:
    responses = [
        {"status": 200, **decision_body()},
        {"status": 202, **held_body()},
        {"status": 422, "problem": problem_body(422, "ActionSetEmpty")},
    ]
    client = sdk.connect(Wire(answer(200, {"responses": responses})))

    answers = await sdk.call(client.act_batch, [{"observation": [1.0]}] * 3)

    assert [type(one) for one in answers] == [Decision, Held, ProblemItem]
    assert answers[1] == HELD


async def test_a_step_of_an_episode_is_counted_when_its_decision_is_there(sdk: Sdk) -> None:
    wire = Wire(answer(202, held_body()), answer(200, decision_body()))
    client = sdk.connect(wire)
    episode = client.episode(policy="digits")

    with pytest.raises(HeldError):
        await sdk.call(episode.act, [1.0], ["news"])
    assert episode.step == 0
    await sdk.call(episode.act, [1.0], ["news"])

    assert episode.step == 1
    assert wire.bodies[0] == wire.bodies[1]  # so the service knows it for the same


async def test_what_waits_is_listed_for_one_policy_or_for_all(sdk: Sdk) -> None:
    wire = Wire(answer(200, {"approvals": [approval_body()], "pending": 1}))
    client = sdk.connect(wire)

    [one] = await sdk.call(client.approvals)
    await sdk.call(client.approvals, policy="digits", state="rejected")

    assert (one.approval_id, one.state, one.kind, one.is_held) == ("dab", "pending", "decision", 1)
    assert one.deadline == SOON
    assert one.decision is None
    assert one.detail["causes"] == ["envelope.0"]
    assert wire.targets == [
        "GET /v1/approvals?state=pending",
        "GET /v1/approvals?policy=digits&state=rejected",
    ]


@pytest.mark.parametrize(("method", "state"), [("approve", "approved"), ("reject", "rejected")])
async def test_an_answer_has_a_reason(sdk: Sdk, method: str, state: str) -> None:
    wire = Wire(answer(200, approval_body(state, by="ana", why="I know them")))
    client = sdk.connect(wire, policy="digits")

    approval = await sdk.call(getattr(client, method), "dab", why="I know them")

    assert (approval.state, approval.by, approval.why) == (state, "ana", "I know them")
    assert wire.targets == [f"POST /v1/approvals/digits/dab/{method}"]
    assert wire.bodies == [{"why": "I know them"}]


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "OwnRequest", PermissionDeniedError),
        (409, "ApprovalDecided", ConflictError),
        (409, "ApprovalExpired", ConflictError),
        (409, "ApprovalVoid", ConflictError),
    ],
)
async def test_an_answer_that_cannot_count_is_an_error_with_its_code(
    sdk: Sdk, status: int, code: str, error: type[NacreError]
) -> None:
    client = sdk.connect(Wire(answer(status, problem_body(status, code))), policy="digits")

    with pytest.raises(error, match=code):
        await sdk.call(client.approve, "dab", why="fine")
