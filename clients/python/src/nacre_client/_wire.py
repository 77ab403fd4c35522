"""How Python values become what the service reads: JSON, paths, headers, ids, times."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from ._errors import InputError
from ._requests import Action, Actions, Observation, SupportsToList

DEEPEST_LEVEL = 64


def new_id() -> str:
    """A fresh random id, 32 hexadecimal digits."""
    return uuid.uuid4().hex


def without_nones(**fields: Any) -> dict[str, Any]:
    """The fields that were given: None means "not said", and stays off the wire."""
    return {name: value for name, value in fields.items() if value is not None}


def observation_body(observation: Observation) -> dict[str, Any]:
    """`{"features": ...}` for a mapping, `{"vector": [...]}` for a list or an array of floats.

    Raises:
        InputError: it is neither.
    """
    if isinstance(observation, Mapping):
        return {"features": observation}
    return {"vector": _listed(observation, "observation", "a mapping or a list of floats")}


def actions_body(actions: Actions) -> list[Any]:
    """The available actions in the caller's order: an id stays an id, an `Action` becomes an object.

    Raises:
        InputError: not a list, or an item is not an id, an `Action` or a mapping.
    """
    listed = _listed(actions, "actions", "a list of ids, mappings or Action")
    return [
        item if isinstance(item, str) else _action_body(item, at) for at, item in enumerate(listed)
    ]


def action_or_vector(action: str | Sequence[float] | SupportsToList, name: str) -> str | list[Any]:
    """One action: an id stays an id, anything else is a vector.

    Raises:
        InputError: it is neither.
    """
    if isinstance(action, str):
        return action
    return _listed(action, name, "an id, or a list of floats")


def _action_body(item: Any, at: int) -> Mapping[str, Any]:
    if isinstance(item, Action):
        return without_nones(id=item.id, vector=item.vector, features=item.features)
    if isinstance(item, Mapping):
        return item
    raise InputError(
        f"actions[{at}] is of type {type(item).__name__}; expected an id, a mapping or an Action; "
        'pass {"id": ..., "vector": [...]} for an action with features'
    )


def _listed(value: Any, name: str, expected: str) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return list(value)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise InputError(f"{name} is of type {type(value).__name__}; expected {expected}")
    return list(value)


def time_text(value: datetime | str | None) -> str | None:
    """RFC 3339 text of a time; a string is passed on as it is.

    Raises:
        InputError: the datetime has no time zone, so it names no moment.
    """
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        raise InputError(
            f"event_time {value.isoformat()} has no time zone; expected an aware datetime; "
            "use datetime.now(timezone.utc)"
        )
    return value.isoformat()


def path(*segments: str | int, **query: str | None) -> str:
    """A path below the base URL; every segment percent-encoded, because ids may contain "/".

    Raises:
        InputError: a segment is empty, which would name another resource.
    """
    asked = without_nones(**query)
    text = "".join(f"/{_segment(segment)}" for segment in segments)
    return f"{text}?{urlencode(asked, quote_via=quote)}" if asked else text


def _segment(value: str | int) -> str:
    text = str(value)
    if not text:
        raise InputError("an id is empty; expected at least one character")
    if text in {".", ".."}:  # quote leaves dots alone, and URL libraries walk up the path at them
        return text.replace(".", "%2E")
    return quote(text, safe="@:")


def header_text(value: str) -> str:
    """`value` as a header can carry it: printable ASCII stays, the rest is percent-encoded UTF-8."""
    if value.isascii() and value.isprintable() and value == value.strip():
        return value
    return quote(value)


def encode(body: Mapping[str, Any]) -> bytes:
    """Compact JSON. Arrays and array scalars (anything with `tolist`) are written as numbers, and every
    mapping as an object.

    Raises:
        InputError: a value is NaN, infinite, or has no JSON form; the message points at it.
    """
    try:
        return _ENCODER.encode(body).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(_why_not_json(body) or f"the request has no JSON form: {error}") from error


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


# allow_nan=False: the service refuses NaN anyway, and here we can still name the field.
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_plain)


def _why_not_json(value: Any, pointer: str = "") -> str | None:
    """The first place that cannot be sent, as words, or None. Only runs after encoding failed."""
    if pointer.count("/") > DEEPEST_LEVEL:
        return f"{pointer[:80]}... is nested deeper than {DEEPEST_LEVEL} levels"
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return _first(value.items(), pointer)
    if isinstance(value, (list, tuple)):
        return _first(enumerate(value), pointer)
    if isinstance(value, float) and not math.isfinite(value):
        return f"{pointer} is {value}; expected a finite number; replace it or leave the field out"
    if value is None or isinstance(value, (str, int, float)):
        return None
    return f"{pointer} is of type {type(value).__name__}; expected a JSON value"


def _first(items: Iterable[tuple[Any, Any]], pointer: str) -> str | None:
    found = (_why_not_json(item, f"{pointer}/{key}") for key, item in items)
    return next(filter(None, found), None)
