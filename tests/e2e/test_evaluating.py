"""From decisions to a verdict: real processes decide and join, `nacre evaluate` reads their log, over HTTP and by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.deployment import Deployment
from tests.support.policies import bandit
from tests.support.processes import Children, wait_until

pytestmark = pytest.mark.faults

_DECISIONS = 120


@pytest.fixture(scope="module")
def played(stack: Deployment) -> str:
    """A policy whose log has some decisions, of which `a` alone was worth something."""
    stack.register(bandit("judged"))
    body = {"policy": "judged", "observation": {"vector": [1.0, 2.0]}, "actions": ["a", "b", "c"]}
    for number in range(_DECISIONS):
        answer = stack.http.post("/v1/act", json=body | {"decision_id": f"judged-{number}"})
        reward = float(answer.json()["action"]["id"] == "a")
        told = {"policy": "judged", "decision_id": f"judged-{number}", "reward": reward}
        stack.http.post("/v1/observe", json=told | {"final": True})
    stack.wait_joined("judged")
    return "judged"


def test_the_command_says_what_another_policy_would_have_earned(
    stack: Deployment, played: str, children: Children, tmp_path: Path
) -> None:
    page, report = tmp_path / "report.html", tmp_path / "report.json"

    command = children.nacre(
        "evaluate", "uniform", "--policy", played, "--baseline", "0",
        "--json", str(report), "--html", str(page), environment=stack.environment(),
    )  # fmt: skip
    code = command.wait(timeout_s=90)

    found = json.loads(report.read_text())
    assert code in (0, 1), command.output()
    assert found["rows"] == _DECISIONS
    # A third of uniform decisions take `a`; 120 of them within four standard errors of .043.
    assert found["value"] == pytest.approx(1 / 3, abs=0.2)
    assert "<svg" in page.read_text("utf-8")


def test_the_service_evaluates_when_it_is_asked_to(stack: Deployment, played: str) -> None:
    asked = stack.http.post(
        "/v1/evaluations", json={"policy": played, "target": "uniform", "baseline": 0.0}
    )
    address = asked.headers["location"]

    def ended() -> dict[str, Any] | None:
        job: dict[str, Any] = stack.http.get(address).json()
        return job if job["status"] in ("done", "failed") else None

    wait_until(lambda: ended() is not None, what="the evaluation", timeout_s=90)

    assert asked.status_code == 202
    job = ended()
    assert job is not None
    assert (job["status"], job["error"]) == ("done", "")
    assert job["report"]["rows"] == _DECISIONS


def test_an_exported_log_is_evaluated_alike(
    stack: Deployment, played: str, children: Children, tmp_path: Path
) -> None:
    rows, report = tmp_path / "log.jsonl.gz", tmp_path / "report.json"
    environment = stack.environment()

    written = children.nacre("export", str(rows), "--policy", played, environment=environment)
    code = written.wait(timeout_s=90)
    judged = children.nacre(
        "evaluate", "uniform", "--log", str(rows), "--baseline", "0", "--json", str(report),
        environment=environment,
    )  # fmt: skip
    judged.wait(timeout_s=90)

    assert code == 0, written.output()
    assert json.loads(report.read_text())["rows"] == _DECISIONS


def test_a_question_that_makes_no_sense_says_what_to_do(
    stack: Deployment, played: str, children: Children
) -> None:
    command = children.nacre("evaluate", "77", "--policy", played, environment=stack.environment())

    code = command.wait(timeout_s=90)

    assert code == 2
    assert "has no version 77" in command.output()
