"""The policy files that the demos use, which are examples to copy as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.policies.config import load_policy

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "service" / "demo" / "policies").glob("*.yaml"))
EXAMPLES = sorted((ROOT / "examples" / "policies").iterdir())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_example_is_the_policy_that_the_demo_plays(path: Path) -> None:
    assert (ROOT / "examples" / "policies" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_valid_policy_of_the_name_of_its_file(path: Path) -> None:
    assert load_policy(path).policy == path.stem
