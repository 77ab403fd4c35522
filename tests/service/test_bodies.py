"""Strict parsing at the edge: size and depth before parsing, types with the field's pointer after."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import bodies
from service.decisions.schemas import ActRequest
from service.errors import ServiceError
from service.feedback.schemas import ObserveRequest

decode_act = msgspec.json.Decoder(ActRequest).decode


def refused(body: bytes) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        bodies.decode(decode_act, body)
    return caught.value


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"observation":{"vector":[1,"1.5"]},"actions":["a"]}', "/observation/vector/1"),
        (b'{"observation":{"vector":[true]},"actions":["a"]}', "/observation/vector/0"),
        (b'{"observation":{"vector":[1]},"actions":[null]}', "/actions/0"),
        (b'{"observation":{"vector":[1]},"actions":[""]}', "/actions/0"),
        (
            b'{"observation":{"vector":[1]},"actions":[{"id":"a","vector":[[1]]}]}',
            "/actions/0/vector/0",
        ),
        (b'{"actions":["a"]}', ""),
        (b'{"observation":{"vector":[1]},"actions":["a"],"explain":true}', "/explain"),
        (b'{"observation":{"vector":[1]},"actions":["a"],"mode":"offline"}', "/mode"),
        (
            b'{"observation":{"vector":[1]},"actions":["a"],"episode":{"episode_id":"e","step":-1}}',
            "/episode/step",
        ),
        (b"[]", ""),
    ],
)
def test_a_wrong_field_is_named_by_its_pointer(body: bytes, pointer: str) -> None:
    """Failure table rows 21, 22, 24, 39."""
    error = refused(body)

    assert error.kind.status == 422
    assert error.errors[0].pointer == pointer


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"observation":{"vector":[NaN]}',
        b'{"observation":{"vector":[1e999]},"actions":["a"]}',
        b"\xff\xfe",
    ],
)
def test_what_is_not_json_is_refused_without_being_echoed(body: bytes) -> None:
    error = refused(body)

    assert error.kind.status in (400, 422)
    assert "1e999" not in error.detail


@pytest.mark.parametrize("field", ["reward", "cost"])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_no_number_is_refused_by_its_field_where_msgpack_can_say_it(
    number: float, field: str
) -> None:
    decode = msgspec.msgpack.Decoder(ObserveRequest).decode
    body = msgspec.msgpack.encode({"decision_id": "d", "reward": 1.0} | {field: number})

    with pytest.raises(ServiceError) as caught:
        bodies.decode(decode, body)

    assert caught.value.kind.status == 422
    assert caught.value.errors[0].pointer == f"/{field}"
    assert "1000000000000" in caught.value.errors[0].detail


def test_depth_is_checked_before_parsing() -> None:
    with pytest.raises(ServiceError, match="PayloadTooDeep"):
        bodies.check_depth(b"[" * 33 + b"]" * 33, 32)


def test_many_brackets_side_by_side_are_not_deep() -> None:
    wide = b"[" + b"[1]," * 1000 + b"[1]]"

    bodies.check_depth(wide, 2)
    with pytest.raises(ServiceError, match="PayloadTooDeep"):
        bodies.check_depth(wide, 1)


def test_brackets_inside_strings_do_not_count() -> None:
    quoted = b'["' + b"[" * 100 + b'\\"[[[", "{{{{"]'

    bodies.check_depth(quoted, 1)
    with pytest.raises(ServiceError, match="PayloadTooDeep"):
        bodies.check_depth(quoted, 0)


@given(
    st.recursive(
        st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_depth_agrees_with_the_parsed_value(value: Any) -> None:
    def depth(one: Any) -> int:
        if not isinstance(one, list | dict):
            return 0
        return 1 + max(
            (depth(x) for x in (one.values() if isinstance(one, dict) else one)), default=0
        )

    body = msgspec.json.encode(value)
    true_depth = depth(value)

    bodies.check_depth(body, true_depth)
    if true_depth:
        with pytest.raises(ServiceError):
            bodies.check_depth(body, true_depth - 1)


@pytest.mark.parametrize("sizes", [[11], [6, 5], [1] * 11])
async def test_a_body_is_refused_as_soon_as_it_is_too_large(sizes: list[int]) -> None:
    messages = [{"type": "http.request", "body": b"x" * n, "more_body": True} for n in sizes]
    messages[-1]["more_body"] = False

    async def receive() -> Any:
        return messages.pop(0)

    with pytest.raises(ServiceError, match="PayloadSizeExceeded"):
        await bodies.read_body(receive, 10)


async def test_a_client_that_leaves_is_noticed() -> None:
    async def receive() -> Any:
        return {"type": "http.disconnect"}

    with pytest.raises(bodies.DisconnectedError):
        await bodies.read_body(receive, 10)


@given(st.binary(max_size=200))
def test_no_bytes_ever_do_worse_than_a_problem(body: bytes) -> None:
    """Failure table row 42."""
    status = 200
    try:
        bodies.check_depth(body, 32)
        bodies.decode(decode_act, body)
    except ServiceError as error:
        status = error.kind.status

    assert status < 500
