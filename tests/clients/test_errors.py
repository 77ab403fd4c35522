"""Refusals: which class, what it carries, how it reads; and the settings that are checked at once."""

from __future__ import annotations

import pickle
from typing import Any

import httpx
import nacre_client
import pytest
from nacre_client import APIError, FieldProblem, InputError, NacreError

from tests.clients.harness import Sdk, Wire, answer, decision_body, problem_body

CLASSES = {
    301: "APIError",
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    405: "APIError",
    409: "ConflictError",
    413: "TooLargeError",
    422: "InvalidRequestError",
    429: "RateLimitedError",
    500: "ServerError",
    503: "ServerError",
}
PROBLEM = problem_body(
    422,
    "ActionSetEmpty",
    title="No eligible action",
    detail="2 actions given, 2 excluded",
    instance="/v1/act/d-1",
    errors=[{"pointer": "/excluded_actions", "code": "excludes_all", "detail": "names them all"}],
    retryable=False,
    request_id="req-9",
)


async def refusal(sdk: Sdk, given: httpx.Response) -> APIError:
    """The error that `decision` raises for an answer."""
    client = sdk.connect(Wire(given), max_retries=0)
    with pytest.raises(APIError) as caught:
        await sdk.call(client.decision, "d-1")
    return caught.value


@pytest.mark.parametrize("status", CLASSES)
async def test_every_status_has_its_class(sdk: Sdk, status: int) -> None:
    error = await refusal(sdk, answer(status))

    assert type(error).__name__ == CLASSES[status]
    assert error.status == status


async def test_a_refusal_carries_the_whole_problem(sdk: Sdk) -> None:
    error = await refusal(sdk, answer(422, PROBLEM))

    assert (error.code, error.title) == ("ActionSetEmpty", "No eligible action")
    assert error.detail == "2 actions given, 2 excluded"
    assert error.errors == (FieldProblem("/excluded_actions", "excludes_all", "names them all"),)
    assert (error.request_id, error.retryable) == ("req-9", False)
    assert error.problem.instance == "/v1/act/d-1"


async def test_a_refusal_reads_as_one_line_with_the_request_id(sdk: Sdk) -> None:
    error = await refusal(sdk, answer(422, PROBLEM))

    assert str(error) == (
        "422 ActionSetEmpty: 2 actions given, 2 excluded; "
        "/excluded_actions: names them all; request id req-9"
    )


async def test_the_request_id_may_come_as_a_header(sdk: Sdk) -> None:
    error = await refusal(sdk, answer(404, problem_body(404, "NotFound"), x_request_id="req-7"))

    assert str(error) == "404 NotFound; request id req-7"


async def test_a_proxys_page_is_quoted_and_cut(sdk: Sdk) -> None:
    page = httpx.Response(502, text="<h1>Bad gateway</h1>" + "x" * 1000)

    error = await refusal(sdk, page)

    assert str(error).startswith("502 Bad Gateway: <h1>Bad gateway</h1>xxx")
    assert len(error.detail) == 200
    assert error.retryable


@pytest.mark.parametrize("body", [[1], "text", {"errors": "none", "status": "what"}, None])
async def test_a_body_that_is_no_problem_still_makes_an_error(sdk: Sdk, body: Any) -> None:
    error = await refusal(sdk, answer(404, body))

    assert error.status == 404


async def test_an_unknown_status_is_an_error_too(sdk: Sdk) -> None:
    error = await refusal(sdk, httpx.Response(499))

    assert str(error) == "499 Unknown status"


async def test_an_error_survives_pickling_with_what_it_carries(sdk: Sdk) -> None:
    error = await refusal(sdk, answer(429, PROBLEM | {"status": 429}, retry_after="7"))

    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), str(copy)) == (type(error), str(error))
    assert copy.retry_after_s == 7.0


@pytest.mark.parametrize(
    "given",
    [
        httpx.Response(200, text="<h1>It works!</h1>"),
        answer(200, []),
        answer(200, {"decision_id": "d-1"}),
        answer(200, decision_body(action="sport")),
        answer(200, decision_body(reward_deadline="tomorrow")),
        httpx.Response(200),
    ],
)
async def test_an_answer_outside_the_contract_is_an_error_that_says_so(
    sdk: Sdk, given: httpx.Response
) -> None:
    client = sdk.connect(Wire(given))

    with pytest.raises(APIError, match=r"200 UnreadableAnswer: POST /v1/act: .*is this address"):
        await sdk.call(client.act, [1.0], ["a"])


async def test_a_batch_that_lost_an_answer_is_an_error(sdk: Sdk) -> None:
    client = sdk.connect(Wire(answer(200, {"responses": []})))

    with pytest.raises(APIError, match="0 answers to 1 requests"):
        await sdk.call(client.act_batch, [{"observation": [1.0], "actions": ["a"]}])


def test_every_error_is_a_nacre_error() -> None:
    errors = [
        value
        for value in map(nacre_client.__dict__.get, nacre_client.__all__)
        if isinstance(value, type) and issubclass(value, Exception)
    ]

    assert len(errors) == 15
    assert all(issubclass(error, NacreError) for error in errors)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", "", "/v1"])
async def test_an_address_without_scheme_or_host_is_refused(sdk: Sdk, url: str) -> None:
    with pytest.raises(InputError, match="expected an address such as 'http://127"):
        sdk.open(base_url=url)


@pytest.mark.parametrize("timeout_s", [0, -1.0, float("nan")])
async def test_a_timeout_must_be_positive(sdk: Sdk, timeout_s: float) -> None:
    with pytest.raises(InputError, match="expected more than 0 seconds"):
        sdk.open(timeout_s=timeout_s)


async def test_the_key_is_sent_as_a_bearer_token(sdk: Sdk) -> None:
    wire = Wire(answer(body={}))
    client = sdk.connect(wire, api_key="secret-1")

    await sdk.call(client.limits)

    assert wire.headers("Authorization") == ["Bearer secret-1"]


async def test_the_key_may_come_from_the_environment(
    sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NACRE_API_KEY", "secret-2")
    wire = Wire(answer(body={}))
    client = sdk.connect(wire)

    await sdk.call(client.limits)

    assert wire.headers("Authorization") == ["Bearer secret-2"]


async def test_without_a_key_no_authorization_is_sent(sdk: Sdk) -> None:
    wire = Wire(answer(body={}))
    client = sdk.connect(wire)

    await sdk.call(client.limits)

    assert wire.headers("Authorization") == [None]


async def test_a_key_with_a_line_break_is_refused_without_being_shown(sdk: Sdk) -> None:
    with pytest.raises(InputError, match="look for a line break") as caught:
        sdk.open(api_key="secret-3\n")

    assert "secret" not in str(caught.value)


async def test_the_key_does_not_show_in_the_clients_repr(sdk: Sdk) -> None:
    client = sdk.open(api_key="secret-4", policy="digits")

    assert "secret" not in repr(client)
    assert "policy='digits'" in repr(client)


async def test_the_client_names_itself(sdk: Sdk) -> None:
    wire = Wire(answer(body={}))
    client = sdk.connect(wire)

    await sdk.call(client.limits)

    assert wire.headers("User-Agent") == [f"nacre-client/{nacre_client.__version__}"]
