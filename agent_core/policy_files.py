"""Reading a policy file: YAML, TOML or JSON, by its suffix, all to the same plain data."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import yaml

from agent_core.errors import ConfigError, ConfigProblem


def load_policy_data(path: Path) -> dict[str, Any]:
    """The mapping that the file holds.

    Raises:
        ConfigError: the file cannot be read, its suffix or syntax is wrong, a key occurs twice, or
            its top level is not a mapping. The problem's path is the file's name.
    """
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        raise _problem(path, "is not a policy file", f"use one of {', '.join(_PARSERS)}")
    try:
        data = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _problem(path, f"cannot be read ({error.strerror})", "check the path") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise _problem(path, f"cannot be parsed: {error}", "correct its syntax") from error
    if not isinstance(data, dict):
        raise _problem(path, "is not a mapping at its top level", "begin with `name: value` lines")
    return data


class _Loader(yaml.SafeLoader):
    """YAML's safe subset, without its rule that the last of two equal keys wins."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key.value!r} occurs twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _yaml(text: str) -> Any:
    return yaml.load(text, _Loader)  # noqa: S506 - a subclass of the safe loader


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_without_duplicates)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key!r} occurs twice")
        found[key] = value
    return found


_PARSERS: dict[str, Callable[[str], Any]] = {
    ".yaml": _yaml,
    ".yml": _yaml,
    ".toml": tomllib.loads,
    ".json": _json,
}


def _problem(path: Path, problem: str, fix: str) -> ConfigError:
    return ConfigError([ConfigProblem(str(path), problem, fix)])
