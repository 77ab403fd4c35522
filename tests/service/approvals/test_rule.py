"""What a policy file may say about approvals."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from agent_core.config import parse_agent_config
from service.approvals.rule import ApprovalRule, problems
from tests.support.policies import bandit, featured, steering

TOO_DEAR = {"feature": 0, "op": "<=", "value": 3.5}


def test_a_rule_says_what_needs_a_person_and_what_happens_meanwhile() -> None:
    rule = ApprovalRule.model_validate({"envelope": [TOO_DEAR], "otherwise": "hold", "wait_s": 60})

    assert rule.is_about_decisions
    assert not rule.promotions
    assert ApprovalRule.model_validate(rule.model_dump(mode="json")) == rule


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"otherwise": "hold"},
        {"least_confidence": 1.1},
        {"least_confidence": float("nan")},
        {"promotions": True, "wait_s": 0},
        {"promotions": True, "most_pending": 0},
        {"promotions": True, "otherwise": "guess"},
        {"promotions": True, "most_cost": 3.0},
        {"envelope": [{"feature": 0}]},
    ],
)
def test_a_rule_that_asks_for_nothing_or_cannot_be_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ApprovalRule.model_validate(rule)


def test_promotions_alone_are_a_rule_that_leaves_decisions_alone() -> None:
    assert not ApprovalRule(promotions=True).is_about_decisions


@pytest.mark.parametrize(
    ("condition", "path"),
    [
        ({"feature": 3, "op": "<", "value": 1}, "approval.envelope.1.feature"),
        ({"feature": 6, "of": "state", "op": "<", "value": 1}, "approval.envelope.1.feature"),
        ({"any": [TOO_DEAR, {"feature": 9, "op": "<", "value": 1}]}, "approval.envelope.1.any.1.feature"),
    ],
)  # fmt: skip
def test_a_condition_on_a_number_that_there_is_not_is_found(
    condition: dict[str, Any], path: str
) -> None:
    agent = parse_agent_config(featured()["agent"])
    rule = ApprovalRule.model_validate({"envelope": [TOO_DEAR, condition]})

    assert [problem.path for problem in problems(rule, agent)] == [path]


def test_an_envelope_is_for_policies_that_choose_from_sets() -> None:
    agent = parse_agent_config(steering()["agent"])

    assert [p.path for p in problems(ApprovalRule(least_confidence=0.5), agent)] == ["approval"]
    assert list(problems(ApprovalRule(promotions=True), agent)) == []


def test_a_rule_that_fits_has_no_problems() -> None:
    rule = ApprovalRule.model_validate({"envelope": [TOO_DEAR], "least_confidence": 0.5})

    assert list(problems(rule, parse_agent_config(bandit()["agent"]))) == []
