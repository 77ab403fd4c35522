"""The way of a candidate: every stage, every fact, and what holds on every path."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic import ValidationError

from service.policies.head import Rollout
from service.rollout.logic import (
    Asked,
    Facts,
    Moved,
    Next,
    Stay,
    aborted,
    advance,
    begin,
    moved_on,
    noted,
    step_of,
)
from service.rollout.rule import CanaryStep, GateRule, RolloutRule

RULE = RolloutRule(
    shadow_s=10,
    steps=(CanaryStep(share=0.1, at_least_s=20), CanaryStep(share=0.5, at_least_s=30)),
)
UNGATED = RULE.model_copy(update={"gate": None})
DIRECT = RULE.model_copy(update={"steps": ()})


def rollout(stage: str = "candidate", **about: Any) -> Rollout:
    """One that began at 0, in its stage since 0."""
    known: dict[str, Any] = {"rollout_id": "r", "candidate": 7, "started_ms": 0, "since_ms": 0}
    return Rollout(**(known | {"stage": stage} | about))


def canary(step: int = 0, **about: Any) -> Rollout:
    return rollout("canary", step=step, share=RULE.steps[step].share, **about)


GO = Facts("go", "better")
PROMOTE = Facts(evidence="promote", evidence_why="not worse")
HARM = Facts(evidence="roll back", evidence_why="worse")


def word(move: Next) -> str:
    match move:
        case Moved(to=to):
            return to
        case Asked(what=what):
            return f"ask {what}"
        case _:
            return "stay"


# -- what happens by itself -------------------------------------------------------------------------

TABLE: list[tuple[str, Rollout, Facts, RolloutRule, int, str]] = [
    ("a candidate sets out", rollout(), Facts(), RULE, 0, "shadow"),
    ("it waits for the policy to recover", rollout(), Facts(trip="reward"), RULE, 0, "stay"),
    ("the shadow takes its time", rollout("shadow"), GO, RULE, 9_999, "stay"),
    ("then the gate is asked", rollout("shadow"), Facts(), RULE, 10_000, "ask evaluation"),
    ("and waited for", rollout("shadow"), Facts("waiting", "busy"), RULE, 10_000, "stay"),
    ("an open gate leads to the canary", rollout("shadow"), GO, RULE, 10_000, "canary"),
    ("a closed one is the end", rollout("shadow"), Facts("stop", "worse"), RULE, 10_000, "retired"),
    ("no canary meets a tripped policy", rollout("shadow"), Facts("go", "", trip="x"), RULE, 10_000, "stay"),
    ("no gate lets everybody in", rollout("shadow"), Facts("stop"), UNGATED, 10_000, "canary"),
    ("no steps lead to all traffic", rollout("shadow"), GO, DIRECT, 10_000, "live"),
    ("a step takes its time", canary(), PROMOTE, RULE, 19_999, "stay"),
    ("and evidence", canary(), Facts(), RULE, 20_000, "stay"),
    ("with both the next one begins", canary(), PROMOTE, RULE, 20_000, "canary"),
    ("after the last one all traffic", canary(1), PROMOTE, RULE, 30_000, "live"),
    ("harm is the end at once", canary(), HARM, RULE, 1, "retired"),
    ("so is a trip", canary(), Facts(trip="constraint"), RULE, 1, "retired"),
    ("what cannot be decided waits for a person", canary(), Facts(evidence="ask a person"), RULE, 1, "waiting"),
    ("who alone moves it", rollout("waiting", share=0.1), PROMOTE, RULE, 99_999, "stay"),
    ("harm ends it there too", rollout("waiting", share=0.1), HARM, RULE, 1, "retired"),
    ("and a trip", rollout("waiting", share=0.1), Facts(trip="x"), RULE, 1, "retired"),
    ("a promotion may need an approval", canary(1), Facts(evidence="promote", approval="missing"), RULE, 30_000, "ask approval"),
    ("not the step before it", canary(), Facts(evidence="promote", approval="missing"), RULE, 30_000, "canary"),
    ("it waits for the approval", rollout("waiting", approval="a"), Facts(approval="pending"), RULE, 1, "stay"),
    ("which may be given", rollout("waiting", approval="a"), Facts(approval="approved"), RULE, 1, "live"),
    ("not for a tripped policy", rollout("waiting", approval="a"), Facts(approval="approved", trip="x"), RULE, 1, "stay"),
    ("or not", rollout("waiting", approval="a"), Facts(approval="rejected"), RULE, 1, "retired"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "facts", "rule", "now_ms", "after"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
def test_what_happens_by_itself(
    before: Rollout, facts: Facts, rule: RolloutRule, now_ms: int, after: str
) -> None:
    assert word(advance(before, facts, rule, now_ms)) == after


def test_a_move_says_where_the_rollout_stands_then() -> None:
    move = advance(canary(), PROMOTE, RULE, 25_000)

    assert move == Moved("canary", canary(1, since_ms=25_000), "not worse")


def test_a_stay_says_when_to_look_again() -> None:
    assert advance(canary(), PROMOTE, RULE, 5) == Stay("in this step for its declared time", 20_000)


def test_a_rollout_begins_at_the_gate_or_in_the_first_step() -> None:
    at_the_gate = begin(7, "r", RULE, 5, at="gate")
    in_the_canary = begin(7, "r", RULE, 5, at="canary")

    assert (at_the_gate.stage, at_the_gate.share) == ("candidate", 0.0)
    assert in_the_canary == rollout("canary", step=0, share=0.1, started_ms=5, since_ms=5)


def test_a_step_that_the_policy_no_longer_declares_is_its_last() -> None:
    shorter = RULE.model_copy(update={"steps": RULE.steps[:1]})

    assert step_of(canary(1), shorter) == RULE.steps[0]
    assert word(advance(canary(1), PROMOTE, shorter, 20_000)) == "live"


def test_a_share_that_was_lowered_meanwhile_sends_nobody_back() -> None:
    lower = RULE.model_copy(update={"steps": (CanaryStep(share=0.01), CanaryStep(share=0.05))})

    move = advance(canary(), PROMOTE, lower, 10_000_000)

    assert isinstance(move, Moved)
    assert move.rollout is not None
    assert (move.rollout.step, move.rollout.share) == (1, 0.1)


def test_a_step_that_is_declared_now_is_not_left_out_because_others_are_gone() -> None:
    steps = (CanaryStep(share=0.3), CanaryStep(share=0.6))
    other = RULE.model_copy(update={"steps": steps})

    move = advance(rollout("canary", step=2, share=0.25), PROMOTE, other, 10_000_000)

    assert isinstance(move, Moved)
    assert move.rollout is not None
    assert (move.rollout.step, move.rollout.share) == (0, 0.3)


def test_a_canary_of_all_subjects_is_refused_because_it_compares_with_nobody() -> None:
    with pytest.raises(ValidationError, match="less than 1"):
        CanaryStep(share=1.0)


# -- what a person does -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "facts", "after"),
    [
        (rollout(), Facts(), "shadow"),
        (rollout("shadow"), Facts("stop", "worse"), "canary"),
        (canary(), Facts(), "canary"),
        (canary(1), Facts(), "live"),
        (rollout("waiting", step=0, share=0.1), Facts(evidence="ask a person"), "canary"),
        (canary(1), Facts(approval="missing"), "ask approval"),
        (rollout("waiting", step=1, share=0.5, approval="a"), Facts(approval="pending"), "stay"),
        (rollout("waiting", step=1, share=0.5, approval="a"), Facts(approval="approved"), "live"),
        (canary(), Facts(trip="reward"), "stay"),
    ],
)
def test_a_person_moves_a_rollout_on(before: Rollout, facts: Facts, after: str) -> None:
    assert word(moved_on(before, facts, RULE, 1)) == after


def test_a_person_ends_a_rollout() -> None:
    assert aborted("looks odd") == Moved("retired", None, "looks odd")


def test_a_promotion_that_waits_is_still_the_same_step() -> None:
    waiting = noted(canary(1), "approval", "a")

    assert waiting == replace(canary(1), stage="waiting", approval="a")
    assert noted(rollout("shadow"), "evaluation", "e") == rollout("shadow", evaluation="e")


def test_steps_must_grow() -> None:
    with pytest.raises(ValidationError, match="let every step have a larger share"):
        RolloutRule(steps=(CanaryStep(share=0.2), CanaryStep(share=0.2)))


# -- on every path ----------------------------------------------------------------------------------

_shares = st.lists(st.floats(0.01, 0.99), max_size=4, unique=True).map(sorted)
_rules = st.builds(
    lambda shares, gate, shadow_s: RolloutRule(
        steps=tuple(CanaryStep(share=share, at_least_s=2) for share in shares),
        gate=gate,
        shadow_s=shadow_s,
    ),
    _shares,
    st.sampled_from([None, GateRule()]),
    st.sampled_from([0.0, 3.0]),
)
_facts = st.builds(
    Facts,
    st.sampled_from(["unasked", "waiting", "go", "stop"]),
    st.just("gate"),
    st.sampled_from(["promote", "roll back", "continue", "ask a person"]),
    st.just("evidence"),
    st.sampled_from(["not needed", "missing", "pending", "approved", "rejected"]),
    st.sampled_from(["", "", "", "reward"]),
)


@given(_rules, st.lists(_facts, min_size=1, max_size=40))
def test_no_path_goes_round_the_gate_and_no_share_falls(
    rule: RolloutRule, story: list[Facts]
) -> None:
    here: Rollout | None = begin(7, "r", rule, 0, at="gate")
    has_been_let_in = rule.gate is None
    for second, facts in enumerate(story):
        if here is None:
            break
        has_been_let_in |= here.stage == "shadow" and facts.gate == "go"
        match advance(here, facts, rule, second * 1000):
            case Moved(to=to, rollout=after, why=why):
                assert why
                assert to not in ("canary", "live") or has_been_let_in
                assert after is not None or to in ("live", "retired")
                assert after is None or after.share >= here.share
                assert to != "retired" or facts.trip or "stop" in facts.gate or bad(facts)
                here = after
            case Asked(what=what):
                here = noted(here, what, "x")


def bad(facts: Facts) -> bool:
    return facts.evidence == "roll back" or facts.approval == "rejected"


@given(_rules, st.lists(_facts, min_size=1, max_size=40))
def test_only_evidence_a_gate_or_an_approval_leads_to_all_traffic(
    rule: RolloutRule, story: list[Facts]
) -> None:
    here: Rollout | None = begin(7, "r", rule, 0, at="gate")
    for second, facts in enumerate(story):
        if here is None:
            break
        match advance(here, facts, rule, second * 1000):
            case Moved(to=to, rollout=after):
                if to == "live" and here.stage == "canary":
                    assert facts.evidence == "promote"
                    assert facts.approval in ("not needed", "approved")
                    assert here.step == len(rule.steps) - 1
                here = after
            case Asked(what=what):
                here = noted(here, what, "x")
