"""What a deployment tool is told, for every state of a rollout."""

from __future__ import annotations

import pytest

from service.policies.head import Rollout, Stage
from service.rollout.gate import Standing
from service.rollout.judge import Judgement
from service.rollout.logic import Facts
from service.rollout.look import Look
from service.rollout.views import answer


def look(stage: Stage, facts: Facts, approval: str = "") -> Look:
    share = 0.1 if stage in ("canary", "waiting") else 0.0
    rollout = Rollout(rollout_id="r", candidate=2, stage=stage, started_ms=0, since_ms=0, share=share, approval=approval)  # fmt: skip
    return Look(rollout, facts, Judgement("continue", "", ()), Standing(0, 0.0, 0.0, 0), None)


@pytest.mark.parametrize(
    ("stage", "facts", "approval", "word", "decision"),
    [
        ("candidate", Facts("waiting", "w"), "", "not yet", 0),
        ("shadow", Facts("go", "w"), "", "not yet", 0),
        ("shadow", Facts("stop", "w"), "", "stop", 0),
        ("canary", Facts(evidence="continue"), "", "not yet", 0),
        ("canary", Facts(evidence="promote"), "", "go", 1),
        ("canary", Facts(evidence="roll back"), "", "stop", -1),
        ("waiting", Facts(evidence="ask a person"), "", "not yet", 2),
        ("waiting", Facts(evidence="promote"), "a", "not yet", 1),
        ("waiting", Facts(evidence="roll back"), "a", "stop", -1),
    ],
)
def test_a_tool_goes_on_only_where_nothing_is_missing(
    stage: Stage, facts: Facts, approval: str, word: str, decision: int
) -> None:
    told, view = answer("home", stage, look(stage, facts, approval), "")

    assert (told, view.decision, view.stage) == (word, decision, stage)


def test_a_tripped_policy_stops_everything() -> None:
    assert (
        answer("home", "canary", look("canary", Facts(evidence="promote")), "reward")[0] == "stop"
    )
    assert answer("home", "none", None, "reward")[0] == "stop"
    assert answer("home", "none", None, "")[0] == "go"
