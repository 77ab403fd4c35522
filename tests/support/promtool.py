"""Prometheus' own checker of rules and expressions, and the rules and plots that are checked with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.dashboard import dashboard

DEPLOY: Path = Path(__file__).parents[2] / "deploy"
RULES: Path = DEPLOY / "prometheus/rules/nacre.rules.yml"
_MISSING = "promtool is missing; run: deploy/prometheus/get_promtool.sh .venv/bin"


def complaints(*words: str | Path, given: str = "") -> str:
    """What promtool says against `given`; empty if it accepts it. Without promtool the test is skipped, in CI it fails."""
    beside = Path(sys.executable).with_name("promtool")
    program = str(beside) if beside.exists() else shutil.which("promtool")
    if program is None:
        (pytest.fail if os.environ.get("NACRE_CI") else pytest.skip)(_MISSING)
    done = subprocess.run(
        [program, *words], input=given, capture_output=True, text=True, check=False, timeout=120
    )
    return done.stdout + done.stderr if done.returncode else ""


@cache
def rules() -> list[dict[str, Any]]:
    """Every rule, in order: those with `record` and those with `alert`."""
    loaded = yaml.safe_load(RULES.read_text("utf-8"))
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """Every alert by its name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


@cache
def plotted() -> list[str]:
    """Every expression of the dashboard, with Grafana's own interval replaced by one that Prometheus reads."""
    return [
        expression.replace("$__rate_interval", "5m") for expression in _expressions(dashboard())
    ]


def _expressions(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        if "expr" in part:
            yield part["expr"]
        if part.get("type") == "query":
            # label_values(selector, label) is Grafana's; the selector is Prometheus'.
            yield part["query"]["query"].removeprefix("label_values(").rpartition(",")[0]
        part = part.values()
    elif not isinstance(part, list):
        return
    for inner in part:
        yield from _expressions(inner)


def used_metrics(expression: str) -> dict[str, set[str]]:
    """Metrics and recorded names in an expression, each with the labels that are asked of it there."""
    names = re.findall(
        r"\b((?:nacre|job|policy|outcome)[\w]*:[\w:]+|nacre_\w+)(\{[^}]*\})?", expression
    )
    used: dict[str, set[str]] = {}
    for name, matchers in names:
        used.setdefault(name, set()).update(re.findall(r"(\w+)(?==~?|!~?)", matchers))
    return used
