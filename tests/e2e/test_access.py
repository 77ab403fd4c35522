"""Keys, limits and secrets over real HTTP."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import httpx
import pytest

from tests.support.access import KEYS
from tests.support.deployment import Deploy, Deployment
from tests.support.policies import bandit

pytestmark = pytest.mark.faults

ACT: dict[str, Any] = {
    "policy": "shop",
    "observation": {"vector": [0.5, -1]},
    "actions": ["a", "b", "c"],
}


@pytest.fixture(scope="module")
def shop(stack: Deployment) -> httpx.Headers:
    """The headers of a caller that may act and observe for one policy of two."""
    stack.register(bandit("shop"))
    stack.register(bandit("secret"))
    return httpx.Headers({"authorization": f"Bearer {KEYS['shop']}"})


def test_a_key_does_what_its_scopes_allow_and_no_more(
    stack: Deployment, shop: httpx.Headers
) -> None:
    with httpx.Client(base_url=stack.url, headers=shop) as http:
        decided = http.post("/v1/act", json=ACT)
        rewarded = http.post(
            "/v1/observe",
            json={"policy": "shop", "decision_id": decided.json()["decision_id"], "reward": 1},
        )
        forbidden = [
            http.put("/v1/policies/shop", json=bandit("shop")),
            http.put("/v1/policies/shop/actions", json={"put": {}}),
            http.post("/v1/policies/shop/rollback"),
            http.post("/v1/policies/shop/versions/1/promote"),
            http.post("/v1/learn", json={"policy": "shop"}),
        ]

    assert decided.status_code == 200
    assert rewarded.status_code == 202
    assert {(one.status_code, one.json()["code"]) for one in forbidden} == {(403, "Forbidden")}


def test_without_a_known_key_nothing_but_health_is_told(stack: Deployment) -> None:
    for headers in ({}, {"authorization": "Bearer wrong-77aa"}, {"x-api-key": "wrong-77aa"}):
        with httpx.Client(base_url=stack.url, headers=headers) as http:
            asked = [
                http.post("/v1/act", json=ACT),
                http.get("/v1/policies"),
                http.get("/v1/policies/shop"),
            ]
            alive = http.get("/healthz")

        assert {(one.status_code, one.json()["code"]) for one in asked} == {
            (401, "Unauthenticated")
        }
        assert {one.headers["www-authenticate"] for one in asked} == {"Bearer"}
        assert alive.status_code == 200


def test_a_foreign_policy_looks_exactly_like_an_unknown_one(
    stack: Deployment, shop: httpx.Headers
) -> None:
    """Failure table row 5."""
    made = stack.http.post("/v1/act", json=ACT | {"policy": "secret"}).json()["decision_id"]
    with httpx.Client(base_url=stack.url, headers=shop) as http:

        def answers(policy: str, decision_id: str) -> list[Any]:
            reward = {"policy": policy, "decision_id": decision_id, "reward": 1}
            asked = [
                http.post("/v1/act", json=ACT | {"policy": policy}),
                http.post("/v1/observe", json=reward),
                http.get(f"/v1/policies/{policy}"),
                http.get(f"/v1/policies/{policy}/versions"),
                http.get(f"/v1/policies/{policy}/actions"),
                http.get(f"/v1/policies/{policy}/audit"),
                http.get(f"/v2/models/{policy}"),
                http.get(f"/v1/decisions/{decision_id}"),
                http.get(f"/v1/decisions/{decision_id}", params={"policy": policy}),
                http.post(f"/v1/decisions/{decision_id}/activate"),
            ]
            return [(one.status_code, _body_but_its_address(one)) for one in asked]

        foreign, unknown = answers("secret", made), answers("no-such-policy", "never-made")
        listed = http.get("/v1/policies").json()

    assert foreign == unknown
    assert {status for status, _ in foreign} == {404}
    assert listed == {"policies": ["shop"]}


def _body_but_its_address(answer: httpx.Response) -> dict[str, Any]:
    return {k: v for k, v in answer.json().items() if k not in ("instance", "request_id")}


def test_a_body_that_is_too_large_or_too_deep_is_refused(
    stack: Deployment, shop: httpx.Headers
) -> None:
    """Failure table row 22."""
    large = json.dumps(ACT | {"metadata": {"x": "y" * (8 * 2**20)}})
    deep = '{"policy": "shop", "metadata": ' + '{"x":' * 40 + "1" + "}" * 41

    for path in ("/v1/act", "/v1/observe", "/v1/shadow", "/v1/act:batch"):
        answers = [
            httpx.post(stack.url + path, content=body, headers=shop) for body in (large, deep)
        ]

        codes = [(one.status_code, one.json()["code"]) for one in answers]
        assert codes == [(413, "PayloadSizeExceeded"), (413, "PayloadTooDeep")]


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/act"), ("PUT", "/v1/policies/shop")])
def test_a_body_that_trickles_is_not_waited_for(stack: Deployment, method: str, path: str) -> None:
    """Failure table row 22. The limit is one second here."""
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: nacre\r\nauthorization: Bearer {KEYS['admin']}\r\n"
        "content-type: application/json\r\ncontent-length: 100\r\n\r\n{"
    )
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(4096)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started < 5


def test_no_log_holds_a_key(stack: Deployment, shop: httpx.Headers) -> None:
    secret = "wrong-key-0f1e2d3c4b5a6978"
    for headers in (shop, {"authorization": f"Bearer {secret}"}, {"x-api-key": secret}):
        httpx.post(f"{stack.url}/v1/act", json=ACT, headers=headers)
        httpx.post(f"{stack.url}/v1/act", content=b"\xff", headers=headers)
        httpx.put(f"{stack.url}/v1/policies/shop", json={}, headers=headers)
    stack.http.put("/v1/policies/shop", json={"agent": secret})

    printed = stack.logs()

    assert "version_serving" in printed
    assert [one for one in (*KEYS.values(), secret) if one in printed] == []


def test_an_open_door_to_the_network_is_refused(redis_url: str, deploy: Deploy) -> None:
    """No keys on an address that others reach, or keys that cannot be read: it does not start, and says
    what to do without repeating what it read."""
    nacre = deploy(redis_url)
    secret = "raw-key-5d4c3b2a"

    started = [
        nacre.serve(wait=False, NACRE_HOST="0.0.0.0"),
        nacre.serve(wait=False, NACRE_API_KEYS=f'{{"name": "{secret}", "sha256": 5}}'),
    ]
    codes = [child.wait(timeout_s=60) for child in started]

    assert 0 not in codes
    assert "NACRE_API_KEYS_FILE" in started[0].output()
    assert "API keys are malformed" in started[1].output()
    assert secret not in nacre.logs()
