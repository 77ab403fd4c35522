"""The way of a candidate, as one function of where it stands and what is known. No Redis, no clock.

    candidate -> shadow -> gate -> canary step 0 .. n -> live
                                     |        `-> waiting, until a person moves it -> on, as before
        any of them, on harm ------> retired

`advance` is what happens by itself, `moved_on` what a person asks for. Both say why, and neither enters the
canary with a share that falls, nor goes round the gate without a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from msgspec.structs import replace

from service.policies.head import Rollout, Stage
from service.rollout.rule import CanaryStep, RolloutRule

GateState = Literal["unasked", "waiting", "go", "stop"]
Evidence = Literal["promote", "roll back", "continue", "ask a person"]
ApprovalState = Literal["not needed", "missing", "pending", "approved", "rejected"]
Reached = Literal["shadow", "canary", "waiting", "live", "retired"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known now. `gate`: whether evaluation lets the candidate in; `evidence`: what the canary's rewards
    say of this step; `trip`: what tripped the policy, or empty. The reasons belong to the first two.
    """

    gate: GateState = "unasked"
    gate_why: str = ""
    evidence: Evidence = "continue"
    evidence_why: str = ""
    approval: ApprovalState = "not needed"
    trip: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """The next state. `rollout`: None where it is over. `to`: what was reached; with `live` the candidate
    decides for all in the same moment."""

    to: Reached
    rollout: Rollout | None
    why: str


@dataclass(frozen=True, slots=True)
class Asked:
    """Nothing moves before somebody was asked for `what`; see `noted`."""

    what: Literal["evaluation", "approval"]
    why: str


@dataclass(frozen=True, slots=True)
class Stay:
    """Nothing happens, and why. `until_ms`: when it is worth looking again, if only time is missing."""

    why: str
    until_ms: int | None = None


Next: TypeAlias = Moved | Asked | Stay


def begin(
    candidate: int,
    rollout_id: str,
    rule: RolloutRule,
    now_ms: int,
    *,
    at: Literal["gate", "canary"],
) -> Rollout:
    """A rollout at its beginning. `at`: `canary` goes round shadow and gate, to the first canary step, which
    `rule` must have."""
    start = Rollout(
        rollout_id=rollout_id,
        candidate=candidate,
        stage="candidate",
        started_ms=now_ms,
        since_ms=now_ms,
    )
    return start if at == "gate" else _at_step(start, 0, rule, now_ms)


def advance(rollout: Rollout, facts: Facts, rule: RolloutRule, now_ms: int) -> Next:
    """What happens to `rollout` by itself."""
    if (end := _ended(rollout, facts)) is not None:
        return end
    match rollout.stage:
        case "candidate":
            return _set_out(rollout, facts, now_ms)
        case "shadow":
            return _leave_shadow(rollout, facts, rule, now_ms)
        case "canary":
            return _leave_step(rollout, facts, rule, now_ms)
        case "waiting":
            return _leave_waiting(rollout, facts)


def moved_on(rollout: Rollout, facts: Facts, rule: RolloutRule, now_ms: int) -> Next:
    """What happens when a person moves `rollout` on: the next stage or step, whatever the evidence.

    Stays where the policy is tripped, and where the approval of the promotion is not given.
    """
    if facts.trip:
        return Stay(f"the policy is tripped by {facts.trip}; let it recover first")
    match rollout.stage:
        case "candidate":
            return Moved("shadow", _shadow(rollout, now_ms), "moved on by a person")
        case "shadow":
            return _enter(rollout, 0, facts, rule, now_ms, "moved on by a person")
        case "canary" | "waiting":
            step = _following(rollout, rule)
            return _enter(rollout, step, facts, rule, now_ms, "moved on by a person")


def aborted(why: str) -> Moved:
    """The end of a rollout that a person does not want."""
    return Moved("retired", None, why)


def noted(rollout: Rollout, what: Literal["evaluation", "approval"], asked_id: str) -> Rollout:
    """`rollout` once it was asked for; a promotion that waits for its approval goes on being watched."""
    if what == "evaluation":
        return replace(rollout, evaluation=asked_id)
    return replace(rollout, approval=asked_id, stage="waiting")


def step_of(rollout: Rollout, rule: RolloutRule) -> CanaryStep | None:
    """The declared step that `rollout` is in; the last one if the policy now declares fewer."""
    if not rollout.share or not rule.steps:
        return None
    return rule.steps[min(rollout.step, len(rule.steps) - 1)]


# -- the stages -------------------------------------------------------------------------------------

_MEETS_TRAFFIC: Final[frozenset[Stage]] = frozenset({"canary", "waiting"})


def _ended(rollout: Rollout, facts: Facts) -> Moved | None:
    """What ends a rollout at once."""
    if rollout.stage in _MEETS_TRAFFIC:
        if facts.trip and rollout.share:
            return Moved("retired", None, f"the policy was tripped by {facts.trip}")
        if facts.evidence == "roll back":
            return Moved("retired", None, facts.evidence_why)
        if facts.approval == "rejected":
            return Moved("retired", None, "the promotion was not approved")
    return None


def _set_out(rollout: Rollout, facts: Facts, now_ms: int) -> Next:
    if facts.trip:
        return Stay(f"the policy is tripped by {facts.trip}")
    return Moved("shadow", _shadow(rollout, now_ms), "scored beside the live version from now on")


def _shadow(rollout: Rollout, now_ms: int) -> Rollout:
    return replace(rollout, stage="shadow", since_ms=now_ms)


def _leave_shadow(rollout: Rollout, facts: Facts, rule: RolloutRule, now_ms: int) -> Next:
    until_ms = rollout.since_ms + int(rule.shadow_s * 1000)
    if now_ms < until_ms:
        return Stay("in the shadow for its declared time", until_ms)
    if facts.trip:
        return Stay(f"the policy is tripped by {facts.trip}")
    if rule.gate is None:
        return _enter(rollout, 0, facts, rule, now_ms, "no gate is declared")
    match facts.gate:
        case "unasked":
            return Asked("evaluation", facts.gate_why)
        case "waiting":
            return Stay(facts.gate_why)
        case "stop":
            return Moved("retired", None, facts.gate_why)
        case "go":
            return _enter(rollout, 0, facts, rule, now_ms, facts.gate_why)


def _leave_step(rollout: Rollout, facts: Facts, rule: RolloutRule, now_ms: int) -> Next:
    step = step_of(rollout, rule)
    until_ms = rollout.since_ms + int(step.at_least_s * 1000 if step else 0)
    if facts.evidence == "ask a person":
        return Moved("waiting", replace(rollout, stage="waiting"), facts.evidence_why)
    if now_ms < until_ms:
        return Stay("in this step for its declared time", until_ms)
    if facts.evidence != "promote":
        return Stay(facts.evidence_why)
    return _enter(rollout, _following(rollout, rule), facts, rule, now_ms, facts.evidence_why)


def _leave_waiting(rollout: Rollout, facts: Facts) -> Next:
    if facts.trip:
        return Stay(f"the policy is tripped by {facts.trip}")
    if rollout.approval and facts.approval == "approved":
        return Moved("live", None, "the promotion was approved")
    asked = "for an approval" if rollout.approval else "for a person"
    return Stay(f"waiting {asked}")


def _following(rollout: Rollout, rule: RolloutRule) -> int:
    """The canary step after this one. The first with a larger share, if that comes earlier: the policy file may
    have lost steps meanwhile, and what is declared between here and all traffic is not left out."""
    larger = sum(step.share <= rollout.share for step in rule.steps)
    return min(rollout.step + 1, larger) if rollout.share else 0


def _enter(
    rollout: Rollout, step: int, facts: Facts, rule: RolloutRule, now_ms: int, why: str
) -> Next:
    """Into canary step `step`, or, past the last one, to all traffic."""
    if step < len(rule.steps) and not rollout.approval:
        return Moved("canary", _at_step(rollout, step, rule, now_ms), why)
    match facts.approval:
        case "not needed" | "approved":
            return Moved("live", None, why)
        case "missing":
            return Asked("approval", why)
        case "pending":
            return Stay("waiting for an approval")
        case "rejected":
            return Moved("retired", None, "the promotion was not approved")


def _at_step(rollout: Rollout, step: int, rule: RolloutRule, now_ms: int) -> Rollout:
    # A share that the policy file lowered meanwhile must not send subjects back and forth.
    share = max(rule.steps[step].share, rollout.share)
    return replace(rollout, stage="canary", step=step, share=share, since_ms=now_ms)
