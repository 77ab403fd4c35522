"""Strict parsing at the edge: size and depth first, then types, then one problem that names the field."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec

from service.errors import InvalidError, ServiceError

T = TypeVar("T")
Receive = Callable[[], Awaitable[Any]]

_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_PLACE: Final = re.compile(r" - at `(?P<place>\$[^`]*)`$")
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_FIELD: Final = re.compile(r"unknown field `(?P<name>[^`]*)`")


class DisconnectedError(Exception):
    """The client went away before its body was complete."""


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body.

    Raises:
        ServiceError: PayloadSizeExceeded, as soon as the limit is passed.
        DisconnectedError: the client is gone.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        if len(body) > limit:
            raise too_large(limit)
        return body
    parts = [body]
    size = len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise too_large(limit)
    return b"".join(parts)


def too_large(limit: int) -> ServiceError:
    return ServiceError(
        "PayloadSizeExceeded", f"a body may have at most {limit} bytes; see /v1/limits"
    )


def check_depth(body: bytes, limit: int) -> None:
    """Refuses JSON nested deeper than `limit` without parsing it.

    Raises:
        ServiceError: PayloadTooDeep.
    """
    if body.count(b"[") + body.count(b"{") <= limit:
        return
    depth = 0
    for bracket in _STRINGS.sub(b"", body).translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > limit:
            detail = f"a body may nest at most {limit} levels; see /v1/limits"
            raise ServiceError("PayloadTooDeep", detail)


def decode(decoder: Callable[[bytes], T], body: bytes) -> T:
    """Decodes with a msgspec decoder.

    Raises:
        ServiceError: MalformedBody when it is no JSON or msgpack; else InvalidError with the field's pointer.
    """
    try:
        return decoder(body)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise ServiceError("MalformedBody", _malformed(error)) from None


def _malformed(error: Exception) -> str:
    if isinstance(error, msgspec.DecodeError):
        return f"{error}; send strict JSON (no NaN, no infinity) or msgpack"
    return "the body is not valid UTF-8 JSON or msgpack"


def _invalid(message: str) -> InvalidError:
    place = _PLACE.search(message)
    pointer = json_pointer(place["place"]) if place else ""
    detail = message[: place.start()] if place else message
    unknown = _FIELD.search(detail)
    if unknown:
        name = unknown["name"]
        return InvalidError(
            f"{pointer}/{name}",
            f"there is no field `{name}`; see /docs",
            "UnknownField",
            "unknown_field",
        )
    return InvalidError(pointer, detail)


def json_pointer(place: str) -> str:
    """`$.actions[3].id` as `/actions/3/id`; a place inside a mapping's values ends in `/*`."""
    steps = ["*" if name == "" and at == "..." else name or at for name, at in _STEP.findall(place)]
    return "".join("/" + step.replace("...", "*") for step in steps)
