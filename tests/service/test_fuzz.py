"""What the OpenAPI document promises holds for whatever is sent, and nothing ends the process.

The requests go to a real API process over HTTP, so that a crash would be seen as one.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service import openapi
from service.redis_server import PrivateRedis
from tests.support.deployment import Deployment, deployed
from tests.support.policies import bandit, featured, sequential

PROMISES = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SCHEMA = schemathesis.openapi.from_dict(openapi.document("test"))
OPERATIONS: list[Any] = [found.ok() for found in SCHEMA.get_all_operations()]  # type: ignore[union-attr]  # ours is valid
CASES = [
    pytest.param(operation, mode, id=f"{operation.label} {mode.value}")
    for operation in OPERATIONS
    for mode in schemathesis.GenerationMode
    # Any text may be a name: what takes nothing but a name can be sent nothing wrong.
    if mode.is_positive or operation.body or len(operation.query) or "{version}" in operation.path
]
KNOWN = {
    "policy": "home",
    "version": 1,
    "decision_id": "known",
    "episode_id": "trip",
    "job_id": "home.none",
}
"""Things that exist: half of the examples name them, since made-up names end in 404."""

quick = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def nacre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """An API with three policies, one decision and one episode."""
    folder = tmp_path_factory.mktemp("fuzzed")
    with PrivateRedis(folder / "redis") as server, deployed(folder / "nacre", server.url) as nacre:
        api = nacre.serve()
        for document in (bandit(), featured(), sequential()):
            nacre.register(document)
        body = {
            "policy": KNOWN["policy"],
            "decision_id": KNOWN["decision_id"],
            "observation": {"vector": [0.5, -1]},
            "actions": ["a", "b", "c"],
            "episode": {"episode_id": KNOWN["episode_id"], "step": 0},
        }
        assert nacre.http.post("/v1/act", json=body).status_code == 200
        yield nacre
        assert api.exit_code is None
        assert nacre.http.get("/healthz").status_code == 200


@pytest.mark.parametrize(("operation", "mode"), CASES)
def test_every_answer_is_one_that_the_document_promises(
    operation: Any, mode: schemathesis.GenerationMode, nacre: Deployment
) -> None:
    """Failure table rows 22 and 42."""
    names = {name for name in KNOWN if f"{{{name}}}" in operation.path}
    made_up = operation.as_strategy(generation_mode=mode)
    known = operation.as_strategy(
        generation_mode=mode, path_parameters={name: KNOWN[name] for name in names}
    )

    @quick
    @given(case=made_up | known if names else made_up)
    def keeps_its_promise(case: schemathesis.Case[Any]) -> None:
        response = case.call(base_url=nacre.url)

        assert response.status_code < 500 or response.status_code == 503
        case.validate_response(response, checks=PROMISES)

    keeps_its_promise()


# -- bodies that almost make sense ----------------------------------------------------------------

_STEP = {"episode_id": "trip", "step": 1, "previous_decision_id": "known"}
_SEEN = {"features": {"user": {"age": 33.5, "tier": "gold"}}}
_ITEMS = [{"id": "x", "vector": [0.1, 0.2, 0.3]}, {"id": "y", "vector": [1, 2, 3]}]
_REWARD = {
    "policy": "home",
    "decision_id": "known",
    "reward": 1.5,
    "reward_id": "r",
    "cost": 0.1,
    "type": "click",
    "final": False,
    "event_time": "2026-01-31T12:00:00Z",
    "op": "add",
}
_TRANSITION = {
    "policy": "cart",
    "episode_id": "e",
    "step": 3,
    "observation": {"vector": [1, 2]},
    "available_actions": ["left", "right"],
    "action": {"id": "left"},
    "propensity": 0.5,
    "behavior_policy": "old",
    "reward": 1,
    "next_observation": {"vector": [3, 4]},
    "next_available_actions": ["left"],
    "truncated": True,
}
TEMPLATES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/v1/observe", _REWARD),
    ("POST", "/v1/observe", {"rewards": [_REWARD, {**_REWARD, "components": {"click": 1}}]}),
    ("POST", "/v1/observe", {"transition": _TRANSITION}),
    (
        "POST",
        "/v1/observe",
        {"transitions": [_TRANSITION, {**_TRANSITION, "decision_id": "known"}]},
    ),
    (
        "POST",
        "/v1/act",
        {
            "policy": "home",
            "observation": {"vector": [0.5, -1]},
            "actions": ["a", "b", "c"],
            "excluded_actions": ["a"],
            "baseline_action": "b",
            "episode": _STEP,
            "mode": "apprentice",
            "deadline_ms": 100,
            "metadata": {"a": [1, {"b": None}]},
        },
    ),
    ("POST", "/v1/act", {"policy": "shop", "observation": _SEEN, "actions": _ITEMS}),
    (
        "POST",
        "/v1/act:batch",
        {
            "defaults": {"policy": "shop", "observation": _SEEN},
            "requests": [{"actions": _ITEMS}, {"actions": {"ids": ["x"], "vectors": [[1, 2, 3]]}}],
        },
    ),
    (
        "POST",
        "/v1/shadow",
        {
            "policy": "shop",
            "observation": _SEEN,
            "actions": _ITEMS,
            "action_id": "x",
            "behavior_policy": "old",
            "propensity": 0.3,
        },
    ),
    (
        "POST",
        "/v1/episodes/trip/seal?policy=home",
        {
            "status": "truncated",
            "next_observation": {"vector": [1, 2]},
            "next_available_actions": ["a"],
        },
    ),
    ("POST", "/v1/learn", {"policy": "home", "until": {"new_transitions": 5}, "dry_run": True}),
    ("PUT", "/v1/policies/shop/actions", {"put": {"n": {"vector": [1, 2, 3]}}, "remove": ["m"]}),
    ("PUT", "/v1/policies/fresh", featured("fresh")),
    ("PUT", "/v1/policies/walk", sequential("walk")),
]
NASTY: list[Any] = [
    *(None, True, 0, -1, -0.0, 2**53, 2**63, 2**64, 10**400, 1e308, 5e-324, math.nan, math.inf),
    *("", " ", "\x00", "\ud800", "é" * 200, "x" * 5000, "1.5", "__proto__", "{home}", "../../x"),
    *([], {}, [[]], {"": {}}, [None], {"a": {"b": {"c": {}}}}, b"\x00\x00\xc0\x7f", b"odd"),
]


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


values = st.sampled_from(NASTY).map(copy.deepcopy) | st.builds(
    _nested, st.sampled_from([10, 40, 600])
)


def _places(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something can be replaced: every field and element, however deep."""
    inside = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in inside:
        yield (*at, key)
        if isinstance(value, (dict, list)):
            yield from _places(value, (*at, key))


@st.composite
def bodies(draw: st.DrawFn, template: dict[str, Any]) -> Any:
    """The template with one to three things replaced, removed or added."""
    body: Any = copy.deepcopy(template)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(body))
        if not places:
            break
        *path, last = draw(st.sampled_from(places))
        parent: Any = body
        for key in path:
            parent = parent[key]
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                parent[last] = draw(values)
            case "remove":
                del parent[last]
            case _ if isinstance(parent, dict):
                parent[draw(st.sampled_from(["", "x", "policy", "features", "id"]))] = draw(values)
            case _:
                parent.insert(last, draw(values))
    return body


def _encoded(body: Any, media: str) -> bytes:
    if media == "application/msgpack":
        with suppress(OverflowError, UnicodeEncodeError):  # msgpack has no word for it
            return msgspec.msgpack.encode(body)
    return json.dumps(body, default=lambda raw: raw.decode("latin-1")).encode()


@pytest.mark.parametrize(("method", "path", "template"), TEMPLATES)
def test_a_body_that_almost_makes_sense_never_breaks_anything(
    method: str, path: str, template: dict[str, Any], nacre: Deployment
) -> None:
    """Failure table rows 21, 22, 24 and 42."""

    @settings(quick, max_examples=60)
    @given(
        body=bodies(template), media=st.sampled_from(["application/json", "application/msgpack"])
    )
    def is_answered(body: Any, media: str) -> None:
        answer = nacre.http.request(
            method, path, content=_encoded(body, media), headers={"content-type": media}
        )

        assert answer.status_code < 500, answer.text
        json.loads(answer.text, parse_constant=pytest.fail)

    is_answered()


@pytest.mark.parametrize("path", ["/v1/observe", "/v1/act", "/v1/act:batch", "/v1/shadow"])
def test_bytes_that_make_no_sense_never_break_anything(path: str, nacre: Deployment) -> None:
    """Failure table row 42."""

    @settings(quick, max_examples=60)
    @given(body=st.binary(max_size=200), media=st.sampled_from(["json", "msgpack", "x"]))
    def is_refused(body: bytes, media: str) -> None:
        headers = {"content-type": f"application/{media}"}

        answer = nacre.http.post(path, content=body, headers=headers)

        assert answer.status_code in (400, 404, 413, 415, 422), answer.text

    is_refused()


@pytest.mark.parametrize("levels", [31, 100, 400, 900, 5_000, 1_000_000])
@pytest.mark.parametrize("field", ["metadata", "features"])
def test_no_depth_of_nesting_breaks_anything(field: str, levels: int, nacre: Deployment) -> None:
    """Failure table row 22: msgpack is not measured before it is decoded."""
    nested = b"\x81\xa4user" * levels + b"\x01"
    seen = nested if field == "features" else msgspec.msgpack.encode(_SEEN["features"])
    head = {"policy": "shop", "actions": _ITEMS}
    fields = [msgspec.msgpack.encode(key) + msgspec.msgpack.encode(v) for key, v in head.items()]
    fields.append(msgspec.msgpack.encode("observation") + b"\x81\xa8features" + seen)
    if field == "metadata":
        fields.append(msgspec.msgpack.encode("metadata") + nested)
    body = bytes([0x80 + len(fields)]) + b"".join(fields)

    answer = nacre.http.post(
        "/v1/act", content=body, headers={"content-type": "application/msgpack"}
    )

    assert answer.status_code in (200, 400, 413, 422), answer.text
    if answer.status_code == 200:
        decision_id = answer.json()["decision_id"]
        assert nacre.http.get(f"/v1/decisions/{decision_id}?policy=shop").status_code == 200


@pytest.mark.parametrize(
    "value",
    [
        b"\xc7\x03\x05abc",  # an extension type
        b"\xd6\xff\x00\x00\x00\x01",  # a time
        b"\x81\x01\x02",  # a number as a key
        b"\x81\xc0\x02",  # nil as a key
        b"\x81\x91\x01\x02",  # a list as a key
        b"\x81\xc4\x01\xff\x02",  # bytes as a key
        b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",  # NaN
        b"\xc4\x02\xff\xfe",  # bytes
        b"\xcf" + b"\xff" * 8,  # the largest number
    ],
    ids=["ext", "time", "number key", "nil key", "list key", "bytes key", "nan", "bytes", "large"],
)
def test_what_only_msgpack_can_say_is_kept_and_can_be_looked_up(
    value: bytes, nacre: Deployment
) -> None:
    """Failure table row 42: the answer of the look-up is JSON."""
    fields = {"policy": "home", "observation": {"vector": [0.5, -1]}, "actions": ["a", "b"]}
    body = b"\x84" + msgspec.msgpack.encode(fields)[1:] + b"\xa8metadata\x81\xa1v" + value

    answer = nacre.http.post(
        "/v1/act", content=body, headers={"content-type": "application/msgpack"}
    )

    assert answer.status_code in (200, 400, 422), answer.text
    if answer.status_code == 200:
        decision_id = answer.json()["decision_id"]
        found = nacre.http.get(f"/v1/decisions/{decision_id}?policy=home")
        assert found.status_code == 200, found.text
        json.loads(found.text, parse_constant=pytest.fail)
