"""Answering locally when the service is away: only if asked to, and never in the service's name."""

from __future__ import annotations

import logging
import math
from typing import Any

import httpx
import pytest
from nacre_client import (
    ConnectFailedError,
    DeadlineExceededError,
    InputError,
    InvalidRequestError,
    RankedAction,
    RateLimitedError,
    ServerError,
)

from tests.clients.harness import Answer, Sdk, Wire, answer, decision_body, problem_body

ACTIONS = ["news", "sport", "music"]
AWAY: list[Any] = [httpx.ConnectError, httpx.ReadTimeout, answer(500), answer(503), answer(429)]


async def test_without_a_fallback_the_error_is_raised(sdk: Sdk) -> None:
    client = sdk.connect(Wire(httpx.ConnectError), max_retries=0)

    with pytest.raises(ConnectFailedError):
        await sdk.call(client.act, [1.0], ACTIONS, baseline_action="sport")


@pytest.mark.parametrize("trouble", AWAY, ids=str)
async def test_the_baseline_answers_whatever_keeps_the_service_away(
    sdk: Sdk, trouble: Answer
) -> None:
    client = sdk.connect(Wire(trouble), max_retries=0, policy="digits")

    decision = await sdk.call(
        client.act, [1.0], ACTIONS, baseline_action="sport", fallback="baseline"
    )

    assert (decision.action.id, decision.action.index) == ("sport", 1)
    assert (decision.propensity, decision.reason, decision.is_local) == (1.0, "fallback", True)
    assert decision.ranking == (RankedAction("sport", 1.0, None),)
    assert decision.policy == "digits"


async def test_a_client_may_fall_back_by_default_and_a_call_may_refuse_to(sdk: Sdk) -> None:
    client = sdk.connect(Wire(httpx.ConnectError), max_retries=0, fallback="baseline")

    decision = await sdk.call(client.act, [1.0], ACTIONS)

    assert decision.is_local
    with pytest.raises(ConnectFailedError):
        await sdk.call(client.act, [1.0], ACTIONS, fallback="raise")


@pytest.mark.parametrize(
    ("options", "chosen", "index"),
    [
        ({}, "news", 0),
        ({"excluded_actions": ["news"]}, "sport", 1),
        ({"baseline_action": "music"}, "music", 2),
        ({"baseline_action": "music", "excluded_actions": ["music"]}, "news", 0),
        ({"baseline_action": "unheard_of"}, "news", 0),
    ],
)
async def test_the_fallback_is_the_baseline_or_else_the_first_that_may_be_chosen(
    sdk: Sdk, options: Any, chosen: str, index: int
) -> None:
    client = sdk.connect(Wire(httpx.ConnectError), max_retries=0, fallback="baseline")

    decision = await sdk.call(client.act, [1.0], ACTIONS, **options)

    assert (decision.action.id, decision.action.index) == (chosen, index)


async def test_a_described_action_can_be_fallen_back_to(sdk: Sdk) -> None:
    client = sdk.connect(Wire(httpx.ConnectError), max_retries=0, fallback="baseline")

    decision = await sdk.call(client.act, [1.0], [{"id": "a", "vector": [0.5]}])

    assert decision.action.id == "a"


BOX = {"type": "box", "low": [0.0, -1.0], "high": [1.0, 3.0]}


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"baseline_action": [0.25, 2.0]}, (0.25, 2.0)),
        ({"baseline_action": [0.25, 2.0], "action_space": BOX}, (0.25, 2.0)),
        ({"action_space": BOX}, (0.5, 1.0)),
    ],
    ids=["the baseline", "the baseline rather than the centre", "the centre"],
)
async def test_a_continuous_action_falls_back_to_the_baseline_or_the_centre_of_the_box(
    sdk: Sdk, options: Any, value: tuple[float, ...]
) -> None:
    client = sdk.connect(Wire(httpx.ConnectError), max_retries=0, fallback="baseline")

    decision = await sdk.call(client.act, [1.0], **options)

    assert decision.action.value == value
    assert (decision.propensity, decision.ranking) == (math.inf, ())
    assert decision.is_local


async def test_without_a_baseline_and_a_box_there_is_nothing_to_fall_back_to(sdk: Sdk) -> None:
    client = sdk.connect(Wire(httpx.ConnectError), max_retries=0, fallback="baseline")

    with pytest.raises(ConnectFailedError):
        await sdk.call(client.act, [1.0])


async def test_with_nothing_to_fall_back_to_the_error_is_raised(sdk: Sdk) -> None:
    client = sdk.connect(Wire(httpx.ConnectError), max_retries=0, fallback="baseline")

    with pytest.raises(ConnectFailedError):
        await sdk.call(client.act, [1.0], ACTIONS, excluded_actions=ACTIONS)


async def test_a_mistake_of_the_caller_is_never_covered_up(sdk: Sdk) -> None:
    client = sdk.connect(Wire(answer(422, problem_body(422, "UnknownAction"))), fallback="baseline")

    with pytest.raises(InvalidRequestError):
        await sdk.call(client.act, [1.0], ACTIONS)


async def test_a_local_decision_never_carries_the_id_that_was_sent(sdk: Sdk) -> None:
    # The service may have decided under that id, and a reward for it must not land on that decision.
    wire = Wire(httpx.ReadTimeout)
    client = sdk.connect(wire, max_retries=0, fallback="baseline")

    decision = await sdk.call(client.act, [1.0], ACTIONS, decision_id="mine")

    assert decision.decision_id.startswith("local-")
    assert decision.reasons_detail["sent_decision_id"] == "mine"
    assert "no answer within" in decision.reasons_detail["fallback"]


async def test_falling_back_is_logged(sdk: Sdk, caplog: pytest.LogCaptureFixture) -> None:
    client = sdk.connect(Wire(httpx.ConnectError), max_retries=0, fallback="baseline")

    with caplog.at_level(logging.WARNING, "nacre_client"):
        await sdk.call(client.act, [1.0], ACTIONS)

    assert "fell back to action news: POST /v1/act" in caplog.text


async def test_a_retry_comes_before_the_fallback(sdk: Sdk) -> None:
    wire = Wire(httpx.ConnectError, answer(body=decision_body()))
    client = sdk.connect(wire, fallback="baseline")

    decision = await sdk.call(client.act, [1.0], ACTIONS)

    assert not decision.is_local


async def test_every_item_of_a_batch_can_fall_back(sdk: Sdk) -> None:
    client = sdk.connect(Wire(answer(503)), max_retries=0, fallback="baseline")

    first, second = await sdk.call(
        client.act_batch,
        [{"observation": [1.0]}, {"observation": [2.0], "baseline_action": "music"}],
        {"actions": ACTIONS, "baseline_action": "sport"},
    )

    assert [first.action.id, second.action.id] == ["sport", "music"]
    assert first.is_local
    assert first.decision_id != second.decision_id


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (answer(503), ServerError),
        (answer(429), RateLimitedError),
        (httpx.ReadTimeout, DeadlineExceededError),
    ],
    ids=str,
)
async def test_a_batch_raises_when_there_is_no_fallback(
    sdk: Sdk, trouble: Answer, error: type[Exception]
) -> None:
    client = sdk.connect(Wire(trouble), max_retries=0)

    with pytest.raises(error):
        await sdk.call(client.act_batch, [{"observation": [1.0], "actions": ACTIONS}])


async def test_a_misspelt_fallback_is_refused_when_the_client_is_made(sdk: Sdk) -> None:
    with pytest.raises(InputError, match="'basline'; expected one of raise, baseline"):
        sdk.open(fallback="basline")


async def test_a_misspelt_fallback_of_a_call_is_refused_although_the_service_is_up(
    sdk: Sdk,
) -> None:
    client = sdk.connect(Wire(answer(body=decision_body())))

    with pytest.raises(InputError, match="'basline'; expected one of raise, baseline"):
        await sdk.call(client.act, [1.0], ACTIONS, fallback="basline")
