"""Trying again: when, how often, how long after, and always with the same idempotency key."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacre_client import (
    APIError,
    ConflictError,
    ConnectFailedError,
    DeadlineExceededError,
    InputError,
    NacreError,
    RateLimitedError,
    ServerError,
)
from nacre_client._errors import retry_after_s
from nacre_client._retry import TimeLeft, Tries, longest_pause_s

from tests.clients.harness import (
    Sdk,
    Wire,
    answer,
    decision_body,
    problem_body,
    reward_body,
)

ACTIONS = ["news", "sport"]
GOOD = answer(body=decision_body())
BUSY = answer(503, problem_body(503, "RedisUnavailable", retryable=True), retry_after="0")


async def test_act_sends_its_decision_id_as_the_key_of_every_attempt(sdk: Sdk) -> None:
    wire = Wire(BUSY, httpx.ConnectError, GOOD)
    client = sdk.connect(wire)

    await sdk.call(client.act, [1.0], ACTIONS, decision_id="mine")

    assert wire.headers("Idempotency-Key") == ["mine", "mine", "mine"]
    assert wire.headers("Nacre-Retry-Count") == ["0", "1", "2"]


async def test_a_generated_decision_id_is_the_same_in_every_attempt(sdk: Sdk) -> None:
    wire = Wire(BUSY, BUSY, GOOD)
    client = sdk.connect(wire)

    await sdk.call(client.act, [1.0], ACTIONS)

    ids = {body["decision_id"] for body in wire.bodies}
    assert ids == set(wire.headers("Idempotency-Key"))
    assert len(ids) == 1


async def test_every_attempt_sends_the_same_bytes(sdk: Sdk) -> None:
    wire = Wire(BUSY, BUSY, answer(202, reward_body()))
    client = sdk.connect(wire)

    await sdk.call(client.observe, "d-1", 1.0)

    assert len({request.content for request in wire.requests}) == 1
    assert len(wire.requests) == 3


LIVE = {"policy": "digits", "live": "digits@3", "before": "digits@2", "is_pinned": False}
POSTS: list[tuple[str, tuple[Any, ...], dict[str, Any], Any]] = [
    ("observe", ("d-1", 1.0), {}, reward_body()),
    ("observe_many", ([{"decision_id": "d-1", "reward": 1.0}],), {}, reward_body()),
    ("observe_transition", (), {"episode_id": "e", "step": 0, "reward": 1.0}, reward_body()),
    (
        "act_batch",
        ([{"observation": [1.0], "actions": ACTIONS}],),
        {},
        {"responses": [{"status": 200, **decision_body()}]},
    ),
    ("activate", ("d-1",), {}, None),
    ("seal_episode", ("e-1", "terminated"), {}, {}),
    ("learn", (), {"max_steps": 1}, {"job_id": "j", "status": "queued"}),
    ("promote", (3,), {}, LIVE),
    ("rollback", (), {}, LIVE),
]


@pytest.mark.parametrize(("method", "args", "options", "body"), POSTS, ids=[p[0] for p in POSTS])
async def test_every_post_has_one_key_for_all_its_attempts_and_another_for_the_next_call(
    sdk: Sdk, method: str, args: Any, options: Any, body: Any
) -> None:
    good = answer(202, body)
    wire = Wire(BUSY, good, BUSY, good)
    client = sdk.connect(wire, policy="digits")

    await sdk.call(getattr(client, method), *args, **options)
    await sdk.call(getattr(client, method), *args, **options)

    one, one_again, two, two_again = wire.headers("Idempotency-Key")
    assert one
    assert one == one_again
    assert two == two_again
    assert one != two


async def test_a_get_has_no_key_and_is_retried_too(sdk: Sdk) -> None:
    wire = Wire(BUSY, answer(body={"max_batch": 100}))
    client = sdk.connect(wire)

    limits = await sdk.call(client.limits)

    assert limits == {"max_batch": 100}
    assert wire.headers("Idempotency-Key") == [None, None]


async def test_a_decision_id_that_no_header_can_carry_is_percent_encoded(sdk: Sdk) -> None:
    wire = Wire(GOOD)
    client = sdk.connect(wire)

    await sdk.call(client.act, [1.0], ACTIONS, decision_id="größe\n1")

    assert wire.headers("Idempotency-Key") == ["gr%C3%B6%C3%9Fe%0A1"]
    assert wire.bodies[0]["decision_id"] == "größe\n1"


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
async def test_a_passing_trouble_is_tried_again(sdk: Sdk, status: int) -> None:
    wire = Wire(answer(status), GOOD)
    client = sdk.connect(wire)

    decision = await sdk.call(client.act, [1.0], ACTIONS)

    assert decision.action.id == "sport"
    assert len(wire.requests) == 2


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 413, 422, 500])
async def test_a_final_refusal_is_not_tried_again(sdk: Sdk, status: int) -> None:
    wire = Wire(answer(status), GOOD)
    client = sdk.connect(wire)

    with pytest.raises(APIError):
        await sdk.call(client.act, [1.0], ACTIONS)

    assert len(wire.requests) == 1


async def test_the_service_may_say_that_a_503_is_final(sdk: Sdk) -> None:
    wire = Wire(answer(503, problem_body(503, "Closed", retryable=False)), GOOD)
    client = sdk.connect(wire)

    with pytest.raises(ServerError):
        await sdk.call(client.act, [1.0], ACTIONS)

    assert len(wire.requests) == 1


async def test_the_service_may_say_that_a_409_will_pass(sdk: Sdk) -> None:
    wire = Wire(answer(409, problem_body(409, "Busy", retryable=True)), GOOD)
    client = sdk.connect(wire)

    await sdk.call(client.act, [1.0], ACTIONS)

    assert len(wire.requests) == 2


async def test_after_the_last_attempt_the_refusal_is_raised(sdk: Sdk) -> None:
    wire = Wire(BUSY)
    client = sdk.connect(wire, max_retries=1)

    with pytest.raises(ServerError) as caught:
        await sdk.call(client.act, [1.0], ACTIONS)

    assert caught.value.code == "RedisUnavailable"
    assert len(wire.requests) == 2


async def test_no_retries_means_one_attempt(sdk: Sdk) -> None:
    wire = Wire(httpx.ConnectError)
    client = sdk.connect(wire, max_retries=0)

    with pytest.raises(ConnectFailedError, match=r"1 attempt\(s\); is the service up"):
        await sdk.call(client.act, [1.0], ACTIONS)

    assert len(wire.requests) == 1


@pytest.mark.parametrize("wrong", [None, -1, math.nan])
async def test_a_senseless_number_of_retries_is_refused_with_a_way_out(
    sdk: Sdk, wrong: Any
) -> None:
    with pytest.raises(InputError, match=r"pass 0 to try once only, .* or math\.inf"):
        sdk.open(max_retries=wrong)


def request_errors(kind: type[httpx.RequestError] = httpx.RequestError) -> list[Any]:
    """Every error class that httpx may raise while sending, found rather than listed."""
    below = [error for child in kind.__subclasses__() for error in request_errors(child)]
    return [kind, *below]


@pytest.mark.parametrize("error", request_errors(), ids=lambda error: error.__name__)
async def test_no_error_of_httpx_reaches_the_caller(
    sdk: Sdk, error: type[httpx.RequestError]
) -> None:
    client = sdk.connect(Wire(error), max_retries=0)
    is_timeout = issubclass(error, httpx.TimeoutException)

    with pytest.raises(NacreError) as caught:
        await sdk.call(client.act, [1.0], ACTIONS)

    assert type(caught.value) is (DeadlineExceededError if is_timeout else ConnectFailedError)
    assert isinstance(caught.value.__cause__, error)


async def test_the_pause_that_the_service_asks_for_is_kept(sdk: Sdk) -> None:
    wire = Wire(answer(429, retry_after="0.2"), GOOD)
    client = sdk.connect(wire)
    start_s = time.monotonic()

    await sdk.call(client.act, [1.0], ACTIONS)

    assert time.monotonic() - start_s >= 0.2


async def test_a_pause_that_does_not_fit_into_the_time_left_is_not_begun(sdk: Sdk) -> None:
    wire = Wire(answer(429, retry_after="30"), GOOD)
    client = sdk.connect(wire, timeout_s=5.0)
    start_s = time.monotonic()

    with pytest.raises(RateLimitedError) as caught:
        await sdk.call(client.act, [1.0], ACTIONS)

    assert caught.value.retry_after_s == 30
    assert time.monotonic() - start_s < 2.0


async def test_endless_retries_end_with_the_time_allowed(sdk: Sdk) -> None:
    wire = Wire(BUSY)
    client = sdk.connect(wire, max_retries=math.inf, timeout_s=0.3)
    start_s = time.monotonic()

    with pytest.raises(ServerError):
        await sdk.call(client.act, [1.0], ACTIONS)

    assert time.monotonic() - start_s < 2.0
    assert len(wire.requests) > 1


async def test_a_conflict_is_raised_as_such(sdk: Sdk) -> None:
    wire = Wire(answer(409, problem_body(409, "JobRunning")))
    client = sdk.connect(wire, policy="digits")

    with pytest.raises(ConflictError, match="409 JobRunning"):
        await sdk.call(client.learn)


def test_the_pause_doubles_up_to_two_seconds() -> None:
    # 0.1 x 2^n: 0.1, 0.2, 0.4, 0.8, 1.6, then 3.2 is capped.
    ceilings = [longest_pause_s(retries) for retries in range(6)]

    assert ceilings == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0])


@given(retries=st.integers(0, 10**9))
def test_the_pause_is_bounded_after_any_number_of_retries(retries: int) -> None:
    assert 0.1 <= longest_pause_s(retries) <= 2.0


@given(asked_s=st.floats(0, 60))
def test_a_pause_is_what_was_asked_for_plus_jitter(asked_s: float) -> None:
    tries = Tries(max_retries=1, timeout_s=1000.0)

    pause_s = tries.pause_s(asked_s)

    assert pause_s is not None
    assert asked_s <= pause_s <= asked_s + 0.1


def test_clients_that_were_sent_away_together_come_back_apart() -> None:
    pauses = {Tries(max_retries=1, timeout_s=1000.0).pause_s(1.0) for _ in range(20)}

    assert len(pauses) > 10


NOW_S = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("header", "expected_s"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("3600", 60.0),
        ("inf", 60.0),
        ("nan", None),
        ("soon", None),
        (format_datetime(datetime(2026, 11, 20, 12, 0, 9, tzinfo=UTC), usegmt=True), 9.0),
        (format_datetime(datetime(2026, 11, 20, 11, 0, 0, tzinfo=UTC), usegmt=True), 0.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, expected_s: float | None) -> None:
    assert retry_after_s(header, NOW_S) == expected_s


def test_the_stages_of_a_request_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", iter([100.0, 100.0, 100.02]).__next__)
    timeouts = TimeLeft(Tries(max_retries=0, timeout_s=0.05))

    to_connect_s = timeouts.get("connect")
    to_read_s = timeouts.get("read")

    assert to_connect_s <= 0.05 + 1e-9
    assert to_read_s == pytest.approx(0.03)


def test_a_spent_deadline_is_still_a_timeout_that_a_socket_takes() -> None:
    assert Tries(max_retries=0, timeout_s=0.0).left_s() == 0.001


def test_nothing_is_tried_again_once_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)  # the shortest pause there is

    assert Tries(max_retries=2, timeout_s=0.0).pause_s(None) is None
    assert Tries(max_retries=2, timeout_s=0.0005).pause_s(None) is None
    assert Tries(max_retries=2, timeout_s=100.0).pause_s(None) == 0.0
