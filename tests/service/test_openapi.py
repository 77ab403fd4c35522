"""The OpenAPI document is whole, and the application keeps what it promises under fuzzing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
from fastapi.openapi.utils import get_openapi

from service import openapi
from service.app import create_app
from service.settings import Settings

DOCUMENT = openapi.document("test")


def test_every_route_is_documented_and_everything_documented_is_there() -> None:
    application: Any = create_app(Settings()).fastapi
    ours = get_openapi(title="", version="", routes=application.routes)["paths"]
    routed = {(method, path) for path, item in ours.items() for method in item}
    hot = {("post", path) for path in ("/v1/act", "/v1/act:batch", "/v1/observe", "/v1/shadow")}

    documented = {(method, path) for path, item in DOCUMENT["paths"].items() for method in item}

    assert documented == routed | hot


def test_references_resolve_and_operation_ids_are_unique() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    ids = [
        operation["operationId"]
        for item in DOCUMENT["paths"].values()
        for operation in item.values()
    ]

    assert set(_references(DOCUMENT)) <= {f"#/components/schemas/{name}" for name in schemas}
    assert len(ids) == len(set(ids))


def test_fields_of_later_work_are_not_promised() -> None:
    fields = DOCUMENT["components"]["schemas"]["ActRequest"]["properties"]

    assert not {"slots", "slate_mode", "explain"} & set(fields)


def test_an_answer_is_an_action_of_a_set_or_a_vector() -> None:
    answers = DOCUMENT["paths"]["/v1/act"]["post"]["responses"]["200"]["content"]

    forms = [
        one["$ref"].rpartition("/")[2] for one in answers["application/json"]["schema"]["oneOf"]
    ]
    assert forms == ["ActResponse", "BoxActResponse"]


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


async def test_the_document_is_served(api: httpx.AsyncClient) -> None:
    served = (await api.get("/openapi.json")).json()

    assert served["paths"].keys() == DOCUMENT["paths"].keys()
    assert (await api.get("/docs")).status_code == 200
