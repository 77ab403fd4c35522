"""The example in the document about approvals uses names that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nacre_client
from nacre_client import Client

DOCUMENT = Path(__file__).parents[2] / "docs" / "approvals.md"


def test_the_example_uses_what_there_is() -> None:
    [block] = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    nodes = list(ast.walk(ast.parse(block)))

    imported = {a.name for n in nodes if isinstance(n, ast.ImportFrom) for a in n.names}
    used = {
        n.attr
        for n in nodes
        if isinstance(n, ast.Attribute)
        and isinstance(n.value, ast.Name)
        and n.value.id in ("client", "approver")
    }

    assert imported <= set(nacre_client.__all__)
    assert used == {"act", "wait", "approvals", "approval", "approve"}
    assert all(hasattr(Client, name) for name in used)
