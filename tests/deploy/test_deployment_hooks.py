"""Argo Rollouts and Flagger follow the canary's verdict: what they ask for exists, and means what they take it for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from fastapi.routing import APIRoute

from service.rollout.endpoints import router
from service.rollout.gauges import DECISIONS
from tests.support.promtool import DEPLOY, complaints, rules

ARGO: dict[str, Any] = {
    template["metadata"]["name"]: template["spec"]
    for template in yaml.safe_load_all((DEPLOY / "argo/analysis-template.yaml").read_text("utf-8"))
}
METRIC = yaml.safe_load((DEPLOY / "flagger/metric-template.yaml").read_text("utf-8"))
CANARY = yaml.safe_load((DEPLOY / "flagger/canary.yaml").read_text("utf-8"))["spec"]["analysis"]


def verdict(template: str, decision: int) -> str:
    """What Argo makes of one measurement: its conditions are plain comparisons of the first result."""
    (metric,) = ARGO[template]["metrics"]
    for outcome in ("failure", "success"):
        asked = re.findall(r"result\[0\] == (-?\d)", metric[f"{outcome}Condition"])
        if str(decision) in asked:
            return outcome
    return "inconclusive"


@pytest.mark.parametrize(
    ("evidence", "guard", "step"),
    [
        ("roll back", "failure", "failure"),
        ("continue", "success", "inconclusive"),
        ("promote", "success", "success"),
        ("ask a person", "inconclusive", "inconclusive"),
    ],
)
def test_argo_aborts_waits_passes_or_pauses_as_the_evidence_says(
    evidence: str, guard: str, step: str
) -> None:
    decision = {str(word): number for word, number in DECISIONS.items()}[evidence]

    assert verdict("nacre-canary-guard", decision) == guard
    assert verdict("nacre-canary-verdict", decision) == step


def test_argo_ends_at_the_first_harm_and_waits_at_the_step_for_as_long_as_it_takes() -> None:
    (guard,) = ARGO["nacre-canary-guard"]["metrics"]
    (step,) = ARGO["nacre-canary-verdict"]["metrics"]

    assert (guard["failureLimit"], guard["inconclusiveLimit"]) == (0, 0)
    assert (step["failureLimit"], step["consecutiveSuccessLimit"]) == (0, 1)
    assert step["inconclusiveLimit"] >= 14 * 24 * 60  # one a minute for two weeks
    assert "count" not in guard


def test_flagger_rolls_back_on_harm_alone() -> None:
    (metric,) = CANARY["metrics"]

    assert metric["templateRef"]["name"] == METRIC["metadata"]["name"]
    assert metric["templateVariables"].keys() == set(
        re.findall(r"variables\.(\w+)", METRIC["spec"]["query"])
    )
    assert [n for n in DECISIONS.values() if n < metric["thresholdRange"]["min"]] == [
        DECISIONS["roll back"]
    ]


def test_flagger_posts_to_a_gate_that_takes_posts() -> None:
    routes = {
        (method, route.path)
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }

    for hook in CANARY["webhooks"]:
        path = re.sub(r"^http://[^/]+", "", hook["url"]).replace("/home/", "/{policy}/")
        assert ("POST", path) in routes


def _queries() -> Iterator[str]:
    yield METRIC["spec"]["query"].replace("{{ variables.policy }}", "home")
    for template in ARGO.values():
        query: str = template["metrics"][0]["provider"]["prometheus"]["query"]
        yield query.replace("{{args.policy}}", "home")


def test_what_they_ask_prometheus_is_recorded_and_accepted(tmp_path: Any) -> None:
    names = {rule["record"] for rule in rules() if "record" in rule}
    asked = [{"record": f"hook:{at}", "expr": query} for at, query in enumerate(_queries())]
    file = tmp_path / "hooks.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "hooks", "rules": asked}]}))

    assert {re.findall(r"\((\S+)\{", one["expr"])[0] for one in asked} <= names
    assert complaints("check", "rules", "--lint=none", file) == ""
