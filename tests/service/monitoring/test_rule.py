"""What the page about watching shows can be declared."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from service.monitoring.rule import MonitoringRule
from service.policies.config import parse_policy
from tests.support.policies import bandit

_PAGE = Path(__file__).parents[3] / "docs" / "watching.md"


def test_what_the_page_declares_is_a_policy() -> None:
    block = re.search(r"```yaml\n(.*?)```", _PAGE.read_text("utf-8"), re.DOTALL)
    assert block is not None
    declared = yaml.safe_load(block.group(1))

    policy = parse_policy(bandit(**declared))

    assert policy.trips.constraints["refunds"].component == "refund"
    assert policy.monitoring.retrain is not None
    defaults = MonitoringRule().model_dump(exclude={"retrain", "silent"})
    assert policy.monitoring.model_dump(exclude={"retrain", "silent"}) == defaults


def test_every_policy_is_watched_and_none_trips_by_itself() -> None:
    policy = parse_policy(bandit())

    assert policy.monitoring == MonitoringRule()
    assert policy.trips.reward is None
    assert policy.trips.constraints == {}
