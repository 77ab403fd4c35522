"""Rules, alerts and their own tests: promtool accepts them, and every name in them is one that Nacre exports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram

from service import metrics
from service.errors import KINDS
from service.monitoring.rule import SignalName
from service.tally import Tally, TallyCollector
from tests.support.promtool import DEPLOY, RULES, alerts, complaints, plotted, rules, used_metrics

CONFIG = DEPLOY / "prometheus/prometheus.yml"
GET_PROMTOOL = DEPLOY / "prometheus/get_promtool.sh"
UNIT_TESTS = sorted((DEPLOY / "prometheus/tests").glob("*.yml"))
ALERTMANAGER: dict[str, Any] = yaml.safe_load(
    (DEPLOY / "alertmanager/alertmanager.yml").read_text()
)
ADDED_WHEN_SCRAPED = {"job", "instance", "le"}

each_alert = pytest.mark.parametrize("name", sorted(alerts()))


@cache
def exported() -> dict[str, set[str]]:
    """Every series that a Nacre process can show, with its labels."""
    series: dict[str, set[str]] = {}
    for metric in vars(metrics).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            (family,) = metric.describe()
            for suffix in _SUFFIXES[family.type]:
                series[family.name + suffix] = set(metric._labelnames)
    tally = Tally()
    tally.reasons["policy"] = tally.fallbacks["deadline"] = 1
    for family in TallyCollector(lambda: [("home", tally)]).collect():
        series |= {sample.name: set(sample.labels) for sample in family.samples}
    return series


_SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}


def recorded() -> dict[str, set[str]]:
    """Every recorded name, with the labels that its first part promises."""
    names = [rule["record"] for rule in rules() if "record" in rule]
    return {name: set(name.split(":")[0].split("_")) for name in names}


def everything_asked() -> list[str]:
    return [rule["expr"] for rule in rules()] + plotted()


# --- promtool


def test_prometheus_accepts_the_configuration_and_the_rules() -> None:
    assert complaints("check", "config", "--lint=all", "--lint-fatal", CONFIG) == ""


@pytest.mark.parametrize("file", UNIT_TESTS, ids=lambda file: file.stem)
def test_the_alerts_fire_and_stay_quiet_as_their_tests_say(file: Path) -> None:
    assert complaints("test", "rules", file) == ""


@cache
def _expectations() -> list[dict[str, Any]]:
    groups = [yaml.safe_load(file.read_text("utf-8"))["tests"] for file in UNIT_TESTS]
    return [test for group in groups for case in group for test in case.get("alert_rule_test", [])]


@each_alert
def test_an_alert_is_shown_to_fire_and_to_stay_quiet(name: str) -> None:
    expected = [test["exp_alerts"] for test in _expectations() if test["alertname"] == name]

    assert any(expected)
    assert not all(expected)


# --- what the rules say


@each_alert
def test_an_alert_says_who_is_woken_what_it_is_and_what_to_do(name: str) -> None:
    alert = alerts()[name]

    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url", "dashboard"}
    assert not alert["annotations"]["summary"].endswith(".")
    assert (
        alert["annotations"]["description"].endswith(".")
        or "?" in alert["annotations"]["description"]
    )


@pytest.mark.parametrize("name", sorted(recorded()))
def test_a_recorded_name_says_level_metric_and_operation(name: str) -> None:
    level, metric, operation = name.split(":")
    (expression,) = [rule["expr"] for rule in rules() if rule.get("record") == name]

    assert f"by ({level.replace('_', ', ')}" in expression
    assert metric.startswith("nacre_")
    assert re.search(r"(5m|15m|30m|1h|6h|1d|3d|settled)$", operation)


@pytest.mark.parametrize("expression", everything_asked())
def test_every_name_and_label_that_is_asked_for_exists(expression: str) -> None:
    known = exported() | recorded()

    for name, labels in used_metrics(expression).items():
        assert name in known
        assert labels <= known[name] | ADDED_WHEN_SCRAPED, name


def test_every_series_is_looked_at_by_a_rule_or_a_plot() -> None:
    asked = {name for expression in everything_asked() for name in used_metrics(expression)}
    parts_of_histograms = {"nacre_act_seconds_sum", "nacre_reward_delay_seconds_sum"}

    unseen = (exported() | recorded()).keys() - asked - parts_of_histograms

    assert unseen == {"nacre_reward_delay_seconds_count"}


def test_requests_count_as_failed_if_their_code_answers_with_5xx() -> None:
    ours = {code for code, kind in KINDS.items() if kind.status >= 500}
    errors = [
        rule["expr"] for rule in rules() if ":nacre_request_errors:" in rule.get("record", "")
    ]

    counted = [set(re.findall(r'code=~"([^"]+)"', one)[0].split("|")) for one in errors]

    assert counted == [ours] * 5


def test_the_limit_of_slow_answers_is_a_bound_of_the_histogram() -> None:
    from service.tally import BOUNDS_S

    (limit,) = re.findall(r"p99_rate5m > ([\d.]+)", alerts()["NacreActSlow"]["expr"])

    assert float(limit) in BOUNDS_S


def test_a_warning_of_any_signal_raises_exactly_one_alert() -> None:
    named = {
        name: set(re.findall(r'signal(?:=~|!~)"([^"]+)"', alert["expr"])[0].split("|"))
        for name, alert in alerts().items()
        if 'level="warning"' in alert["expr"]
    }

    rewards, drift = named["NacreRewardWarning"], named["NacreDrift"]
    assert not rewards & drift
    assert named["NacreWarning"] == rewards | drift  # of all others
    assert rewards | drift < set(get_args(SignalName))


# --- who is told


def test_pages_and_tickets_reach_receivers_that_exist() -> None:
    receivers = {receiver["name"] for receiver in ALERTMANAGER["receivers"]}
    route = ALERTMANAGER["route"]

    assert {route["receiver"], *(child["receiver"] for child in route["routes"])} == receivers
    assert [child["matchers"] for child in route["routes"]] == [['severity = "page"']]


def test_alerts_that_hide_others_and_those_that_are_hidden_exist() -> None:
    rules_of_hiding = ALERTMANAGER["inhibit_rules"]
    matchers = [
        rule[side][0] for rule in rules_of_hiding for side in ("source_matchers", "target_matchers")
    ]
    patterns = [part for matcher in matchers for part in matcher.split('"')[1].split("|")]

    assert [one for one in patterns if not any(re.fullmatch(one, name) for name in alerts())] == []


def test_the_addresses_of_readers_are_known_and_are_not_sent_along() -> None:
    config = yaml.safe_load(CONFIG.read_text("utf-8"))
    asked = set(re.findall(r"\$externalLabels\.(\w+)", RULES.read_text("utf-8")))
    (dropped,) = config["alerting"]["alert_relabel_configs"]

    assert asked == config["global"]["external_labels"].keys()
    assert set(dropped["regex"].split("|")) == asked


def test_the_jobs_of_the_rules_are_those_that_are_scraped() -> None:
    config = yaml.safe_load(CONFIG.read_text("utf-8"))
    scraped = {job["job_name"] for job in config["scrape_configs"]}

    asked = {job for rule in rules() for job in re.findall(r'job="([^"]+)"', rule["expr"])}

    assert asked == scraped - {"prometheus"}


# --- promtool itself


def test_promtool_that_is_on_the_path_is_used(tmp_path: Path) -> None:
    ours = tmp_path / "bin" / "promtool"
    ours.parent.mkdir()
    ours.write_text("#!/bin/sh\n")
    ours.chmod(0o755)
    path = f"{ours.parent}{os.pathsep}{os.environ['PATH']}"

    subprocess.run([GET_PROMTOOL, tmp_path / "new"], env={"PATH": path}, check=True)

    assert (tmp_path / "new/promtool").resolve() == ours


def test_a_machine_without_apt_is_told_where_promtool_comes_from(tmp_path: Path) -> None:
    for tool in ("mkdir", "cat"):
        (tmp_path / tool).symlink_to(Path("/bin") / tool)

    done = subprocess.run(
        ["/bin/sh", GET_PROMTOOL, tmp_path / "new"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "https://prometheus.io/download/" in done.stderr


@pytest.mark.parametrize(
    ("ci", "outcome"), [("1", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
def test_a_missing_promtool_fails_in_ci_and_skips_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("NACRE_CI", ci)

    with pytest.raises(outcome, match="get_promtool"):
        complaints("--version")
