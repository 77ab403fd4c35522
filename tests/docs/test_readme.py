"""The README's examples, run as they are printed against the running system."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from service.policies.config import load_policy, parse_policy
from service.stack import Stack

README = Path("README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What `nacre up --policies examples/policies` starts."""
    with Stack(tmp_path_factory.mktemp("up"), policies=Path("examples/policies")) as stack:
        stack.wait_ready()
        yield stack.url


def test_the_curl_examples_decide_and_reward(url: str) -> None:
    curls = [block for block in blocks("sh") if block.startswith("curl")]
    assert len(curls) == 2

    answers = []
    for curl in curls:
        command = curl.replace("localhost:8000", url.removeprefix("http://"))
        done = subprocess.run(["bash", "-c", command], capture_output=True, check=True, timeout=20)
        answers.append(json.loads(done.stdout))

    assert answers[0]["action"]["id"] in ("news", "sport", "music")
    assert answers[1]["results"][0]["state"] == "joined"


def test_the_sdk_example_prints_an_action_and_its_propensity(url: str) -> None:
    (program,) = blocks("python")

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program.replace("http://localhost:8000", url)],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )

    action, propensity = done.stdout.split()
    assert action in ("news", "sport", "music")
    assert 0 < float(propensity) <= 1


def test_the_policy_in_the_readme_is_the_one_in_the_examples() -> None:
    (document,) = blocks("yaml")

    assert parse_policy(yaml.safe_load(document)) == load_policy(
        Path("examples/policies/home.yaml")
    )


def test_every_linked_page_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)

    assert links
    assert [link for link in links if not Path(link).exists()] == []


@pytest.mark.parametrize(
    "path", sorted(Path("examples/policies").glob("*.yaml")), ids=lambda p: p.name
)
def test_every_example_policy_is_fine(path: Path) -> None:
    assert load_policy(path).policy
