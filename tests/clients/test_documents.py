"""The examples in the documents use names that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import nacre_client
import pytest
from nacre_client import Client, Decision, Episode, Job, RewardResult

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "docs" / "sdk.md", ROOT / "clients" / "python" / "README.md"]
OBJECTS = {"client": Client, "episode": Episode, "job": Job}
VALUES: dict[str, Any] = {"decision": Decision, "result": RewardResult}


def examples() -> list[ast.Module]:
    """The Python blocks of the documents; `await` may stand outside a function there."""
    blocks = [
        block
        for document in DOCUMENTS
        for block in re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)
    ]
    return [
        compile(block, "document", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for block in blocks
    ]


@pytest.fixture(scope="module")
def nodes() -> list[ast.AST]:
    return [node for example in examples() for node in ast.walk(example)]


def test_there_are_examples(nodes: list[ast.AST]) -> None:
    assert len(nodes) > 100


def test_examples_import_what_is_exported(nodes: list[ast.AST]) -> None:
    imported = {
        alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module == "nacre_client"
        for alias in node.names
    }

    assert imported
    assert imported <= set(nacre_client.__all__)


def test_examples_use_methods_and_fields_that_exist(nodes: list[ast.AST]) -> None:
    used = {
        (node.value.id, node.attr)
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }

    missing = [
        f"{name}.{attribute}"
        for name, attribute in sorted(used)
        if (name in OBJECTS and not hasattr(OBJECTS[name], attribute))
        or (name in VALUES and attribute not in VALUES[name].__dataclass_fields__)
    ]
    assert missing == []
    assert ("client", "act") in used
