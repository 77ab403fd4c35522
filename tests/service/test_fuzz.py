"""What the OpenAPI document promises holds for whatever is sent, and nothing ends the process.

The requests go to a real API process over HTTP, so that a crash would be seen as one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
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
from tests.support.policies import bandit

PROMISES = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SCHEMA = schemathesis.openapi.from_dict(openapi.document("test"))
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations()]
CASES = [
    pytest.param(operation, mode, id=f"{operation.label} {mode.value}")
    for operation in OPERATIONS
    for mode in schemathesis.GenerationMode
    # What takes nothing can be sent nothing wrong.
    if mode.is_positive or operation.body or "{" in operation.path or len(operation.query)
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
    """An API with one policy, one decision and one episode."""
    folder = tmp_path_factory.mktemp("fuzzed")
    with PrivateRedis(folder / "redis") as server, deployed(folder / "nacre", server.url) as nacre:
        api = nacre.serve()
        nacre.register(bandit())
        body = {
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
    def keeps_its_promise(case: schemathesis.Case) -> None:
        response = case.call(base_url=nacre.url)

        assert response.status_code < 500 or response.status_code == 503
        case.validate_response(response, checks=PROMISES)

    keeps_its_promise()
