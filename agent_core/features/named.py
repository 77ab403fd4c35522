"""Named features: a nested mapping becomes a vector, by a table of declared dotted paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
from pydantic import Field, field_validator

from agent_core.errors import FeatureError
from agent_core.features.fields import AnyField, NamedField
from agent_core.features.near_miss import near_miss
from agent_core.interfaces import ModuleConfig
from agent_core.types import Floats


class NamedFeaturesConfig(ModuleConfig):
    """Every feature that may be sent, by its dotted path ("user.age" is {"user": {"age": ...}}).

    The order of declaration does not matter: slots are given in the order of the sorted paths.
    """

    kind: Literal["named"] = "named"
    fields: dict[str, AnyField] = Field(min_length=1)

    @property
    def dim(self) -> int:
        """The sum of the fields' widths."""
        return sum(field.width for field in self.fields.values())

    @field_validator("fields")
    @classmethod
    def _paths_make_a_tree(cls, fields: dict[str, NamedField]) -> dict[str, NamedField]:
        for path in fields:
            if not all(path.split(".")):
                raise ValueError(
                    f"{path!r} has an empty part; write parts separated by single dots"
                )
            if inner := next((other for other in fields if other.startswith(f"{path}.")), None):
                raise ValueError(f"{path!r} holds {inner!r}; declare only the innermost paths")
        return fields


@dataclass(frozen=True, slots=True)
class _Leaf:
    field: NamedField
    slots: slice
    pointer: str


@dataclass(frozen=True, slots=True)
class _Branch:
    children: dict[str, _Leaf | _Branch]
    pointer: str


_Node: TypeAlias = _Leaf | _Branch


class NamedEncoder:
    """Encodes one nested mapping at a time: walks what was sent, not what was declared."""

    def __init__(self, fields: Mapping[str, NamedField]) -> None:
        paths = sorted(fields)
        ends = list(accumulate((fields[path].width for path in paths), initial=0))
        self._root = _Branch({}, "")
        self._when_missing: Floats = np.zeros(ends[-1], dtype=np.float32)
        leaves = []
        for path, (start, end) in zip(paths, pairwise(ends), strict=True):
            leaf = _plant(self._root, path, fields[path], slice(start, end))
            leaf.field.write_missing(self._when_missing[leaf.slots])
            leaves.append(leaf)
        self._required = [leaf for leaf in leaves if not leaf.field.optional]

    def encode(self, values: Mapping[str, Any]) -> Floats:
        """`[S]`.

        Raises:
            FeatureError: `unknown_feature`, `missing_feature`, or what a field refuses.
        """
        out = self._when_missing.copy()
        if _fill(self._root, values, out) < len(self._required):
            raise self._missing(values)
        return out

    def _missing(self, values: Mapping[str, Any]) -> FeatureError:
        leaf = next(leaf for leaf in self._required if not _is_present(leaf, values))
        detail = "the feature is declared and not optional; send it, or declare it `optional: true`"
        return FeatureError(leaf.pointer, "missing_feature", detail)


def _plant(root: _Branch, path: str, field: NamedField, slots: slice) -> _Leaf:
    branch = root
    *outer, last = path.split(".")
    for part in outer:
        child = branch.children.setdefault(part, _Branch({}, _below(branch, part)))
        assert isinstance(child, _Branch), "the config refuses paths inside a leaf"
        branch = child
    leaf = _Leaf(field, slots, _below(branch, last))
    branch.children[last] = leaf
    return leaf


def _fill(branch: _Branch, values: Mapping[str, Any], out: Floats) -> int:
    """Writes what is present below `branch`; returns how many required features that were."""
    required = 0
    for name, value in values.items():
        child = branch.children.get(name)
        if child is None:
            raise _unknown(branch, name)
        if value is None:
            continue
        if isinstance(child, _Leaf):
            child.field.write(value, out[child.slots], child.pointer)
            required += not child.field.optional
        elif isinstance(value, Mapping):
            required += _fill(child, value, out)
        else:
            raise FeatureError(child.pointer, "wrong_type", "expected an object of named features")
    return required


def _is_present(leaf: _Leaf, values: Any) -> bool:
    for part in leaf.pointer.split("/")[1:]:
        values = (values or {}).get(part.replace("~1", "/").replace("~0", "~"))
    return values is not None


def _unknown(branch: _Branch, name: str) -> FeatureError:
    hint = near_miss(str(name), branch.children) or "declare it in the policy, or leave it out"
    return FeatureError(_below(branch, str(name)), "unknown_feature", f"is not declared; {hint}")


def _below(branch: _Branch, name: str) -> str:
    return f"{branch.pointer}/{name.replace('~', '~0').replace('/', '~1')}"
