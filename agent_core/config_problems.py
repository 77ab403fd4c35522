"""Pydantic's complaints about a policy file in our words: where, what, and how to mend it.

Never contains the value that was found: files hold secrets and long lists, and a path is enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from agent_core.errors import ConfigProblem
from agent_core.features.near_miss import near_miss

_WORDS: Mapping[str, tuple[str, str]] = {
    "missing": ("is missing", "add it"),
    "greater_than": ("is too small", "use a number above {gt}"),
    "greater_than_equal": ("is too small", "use at least {ge}"),
    "less_than": ("is too large", "use a number below {lt}"),
    "less_than_equal": ("is too large", "use at most {le}"),
    "finite_number": ("is not finite", "use a finite number"),
    "int_type": ("is not a whole number", "use one"),
    "int_parsing": ("is not a whole number", "use one"),
    "int_from_float": ("is not a whole number", "use one"),
    "float_type": ("is not a number", "use one"),
    "float_parsing": ("is not a number", "use one"),
    "string_type": ("is not a string", "put it in quotes"),
    "string_pattern_mismatch": ("has characters that are not allowed", "match {pattern}"),
    "too_short": ("has too few items", "list at least {min_length}"),
    "too_long": ("has too many items", "list at most {max_length}"),
    "tuple_type": ("is not a list", "use one"),
    "list_type": ("is not a list", "use one"),
    "dict_type": ("is not a mapping", "use names and values"),
    "model_type": ("is not a mapping", "use names and values"),
    "model_attributes_type": ("is not a mapping", "use names and values"),
    "literal_error": ("is not a known value", "use {expected}"),
}


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[ConfigProblem]:
    """One problem for each place that `error`, raised by `model`, complains about."""
    found: dict[str, ConfigProblem] = {}
    for details in error.errors(include_url=False, include_input=False):
        problem = _translated(details, model)
        known = found.get(problem.path)
        if known:  # a value that fits no member of a union: one complaint from each
            texts = f"{known.problem} and {problem.problem}", f"{known.fix} or {problem.fix}"
            problem = ConfigProblem(problem.path, *texts)
        found[problem.path] = problem
    # A list whose items are all malformed is also called too short; that would only puzzle.
    return [p for p in found.values() if not any(path.startswith(f"{p.path}.") for path in found)]


def _translated(details: ErrorDetails, model: type[BaseModel]) -> ConfigProblem:
    kind, context = details["type"], details.get("ctx", {})
    path, annotation = _follow(model, details["loc"])
    if kind == "extra_forbidden":
        _, owner = _follow(model, details["loc"][:-1])
        path = _joined(path, details["loc"][-1])
        return _unknown_field(path, str(details["loc"][-1]), owner)
    if kind == "union_tag_not_found":
        tag, known = context["discriminator"].strip("'"), list(_tags(annotation))
        return ConfigProblem(_joined(path, tag), "is missing", f"add one of: {', '.join(known)}")
    if kind == "union_tag_invalid":
        tag, known = context["discriminator"].strip("'"), list(_tags(annotation))
        hint = near_miss(context["tag"], known) or f"use one of: {', '.join(known)}"
        return ConfigProblem(_joined(path, tag), f"{context['tag']!r} is not known", hint)
    if kind == "value_error":  # our own validators say "problem; fix"
        problem, _, fix = str(context["error"]).partition("; ")
        return ConfigProblem(path, problem, fix)
    problem, fix = _WORDS.get(kind, (_lowered(details["msg"]), "correct it"))
    return ConfigProblem(path, problem, fix.format(**context))


def _unknown_field(path: str, name: str, owner: Any) -> ConfigProblem:
    known = [
        field for option in _options(owner) if _is_model(option) for field in option.model_fields
    ]
    hint = near_miss(name, known) or f"remove it, or use one of: {', '.join(known)}"
    return ConfigProblem(path, "is not a known field", hint)


def _follow(model: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[str, Any]:
    """The dotted path of `loc` as the file's author sees it, and the type expected there.

    Pydantic also names the members of unions that it tried; an author never wrote those.
    """
    path, annotation = "", model
    for part in loc:
        is_written, annotation = _step(annotation, part)
        if is_written:
            path = _joined(path, part)
    return path, annotation


def _step(annotation: Any, part: int | str) -> tuple[bool, Any]:
    """Whether `part` is in the file below `annotation`, and the type that is expected there."""
    options = list(_options(annotation))
    models = [option for option in options if _is_model(option)]
    if len(models) > 1 and (tagged := [m for m in models if part in tuple(_tags(m))]):
        return False, tagged[0]
    for owner in models:
        if part in owner.model_fields:
            return True, owner.model_fields[part].annotation
    for option in options:
        if get_origin(option) in (dict, tuple, list):
            arguments = get_args(option)
            return part != "[key]", arguments[1 if get_origin(option) is dict else 0]
    return False, None


def _options(annotation: Any) -> Iterator[Any]:
    """The types behind aliases, annotations and unions."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _options(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for member in get_args(annotation):
            yield from _options(member)
    else:
        yield annotation


def _tags(annotation: Any) -> Iterator[str]:
    """The literals that tell the members of a union apart: each member's `kind` or `type`."""
    for option in _options(annotation):
        for name in ("kind", "type") if _is_model(option) else ():
            field = option.model_fields.get(name)
            if field and get_origin(field.annotation) is Literal:
                yield from get_args(field.annotation)


def _is_model(option: Any) -> bool:
    return isinstance(option, type) and issubclass(option, BaseModel)


def _joined(path: str, part: int | str) -> str:
    return f"{path}.{part}" if path else str(part)


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:].removeprefix("nput ") if message else message
