"""Rollouts as people and programs see them. Pure."""

from __future__ import annotations

from typing import Literal

from service.clock import rfc3339
from service.policies.config import PolicyConfig
from service.policies.repository import PolicyMeta
from service.rollout import gauges
from service.rollout.logic import Asked, Evidence, Moved, Next, advance
from service.rollout.look import Look
from service.rollout.schemas import (
    ArmView,
    ComparisonView,
    GateAnswer,
    GateView,
    NextMove,
    RolloutView,
)
from service.rollout.shadow_sums import ShadowView
from service.rollout.sums import ArmSums, RolloutSums, StepSums


def nothing(config: PolicyConfig, meta: PolicyMeta, shadows: list[ShadowView]) -> RolloutView:
    """No rollout is under way."""
    return RolloutView(
        policy=config.policy,
        live=f"{config.policy}@{meta.live}",
        stage="none",
        steps=[step.share for step in config.rollout.steps],
        shadows=shadows,
    )


def view(
    config: PolicyConfig,
    meta: PolicyMeta,
    look: Look,
    sums: RolloutSums,
    shadows: list[ShadowView],
    now_ms: int,
) -> RolloutView:
    """One that is."""
    rollout, rule = look.rollout, config.rollout
    steps = sums.steps(rollout)
    return RolloutView(
        policy=config.policy,
        live=f"{config.policy}@{meta.live}",
        stage=rollout.stage,
        rollout_id=rollout.rollout_id,
        candidate=f"{config.policy}@{rollout.candidate}",
        started_at=rfc3339(rollout.started_ms),
        since=rfc3339(rollout.since_ms),
        step=rollout.step if rollout.share else None,
        share=rollout.share,
        steps=[step.share for step in rule.steps],
        arms=[one for number, step in enumerate(steps) for one in _arms(number, step)],
        comparisons=_comparisons(look),
        evidence=look.facts.evidence if rollout.share else None,
        gate=_gate(look) if rule.gate else None,
        approval=rollout.approval or None,
        approval_state=look.facts.approval,
        next=_next(advance(rollout, look.facts, rule, now_ms)),
        shadows=shadows,
    )


def _arms(number: int, step: StepSums) -> tuple[ArmView, ArmView]:
    def of(name: str, sums: ArmSums) -> ArmView:
        reward, cost, latency = sums.mean if sums.count else (None, None, None)
        return ArmView(
            step=number,
            arm="canary" if name == "canary" else "live",
            rewards=sums.count,
            mean_reward=reward,
            mean_cost=None if cost is None else -cost + 0.0,
            mean_latency_ms=None if latency is None else -latency + 0.0,
        )

    return of("canary", step.canary), of("live", step.live)


def _comparisons(look: Look) -> list[ComparisonView]:
    return [
        ComparisonView(
            metric=one.metric,
            difference=one.difference,
            radius=one.radius,
            rewards=one.size,
            evidence=one.evidence,
        )
        for one in look.judgement.comparisons
    ]


def _gate(look: Look) -> GateView:
    facts, rollout = look.facts, look.rollout
    report = look.job.report if look.job else None
    plain = GateView(state=facts.gate, why=facts.gate_why, evaluation=rollout.evaluation or None)
    if report is None:
        return plain
    return GateView(
        state=facts.gate,
        why=facts.gate_why,
        evaluation=rollout.evaluation,
        verdict=report.verdict,
        lower=report.lower,
        baseline=report.baseline,
        effective_rows=report.effective_rows,
        rows=report.rows,
    )


def _next(move: Next) -> NextMove:
    match move:
        case Moved(to=to, why=why):
            return NextMove(move=to, why=why)
        case Asked(what=what, why=why):
            return NextMove(move=f"ask for an {what}", why=why)
        case stay:
            at = None if stay.until_ms is None else rfc3339(stay.until_ms)
            return NextMove(move="stay", why=stay.why, at=at)


# -- the gate of deployment tools -------------------------------------------------------------------

GateWord = Literal["go", "stop", "not yet"]


def answer(policy: str, stage: str, look: Look | None, trip: str) -> tuple[GateWord, GateAnswer]:
    """What a tool that asks before it goes on is told.

    `look`: None without a rollout. A policy that is tripped stops everything.
    """
    if trip:
        return "stop", _answer(policy, stage, -1, f"the policy is tripped by {trip}")
    if look is None:
        return "go", _answer(policy, stage, 0, "no rollout is under way")
    facts, decision = look.facts, 0
    if look.rollout.share:
        decision = gauges.DECISIONS[facts.evidence]
    if stage in ("candidate", "shadow"):
        word: GateWord = "stop" if facts.gate == "stop" else "not yet"
        return word, _answer(policy, stage, decision, f"in stage {stage}: {facts.gate_why}")
    if stage == "waiting" and facts.evidence != "roll back":
        asked = "an approval" if look.rollout.approval else "a person"
        return "not yet", _answer(policy, stage, decision, f"waiting for {asked}")
    words: dict[Evidence, GateWord] = {"roll back": "stop", "promote": "go"}
    word = words.get(facts.evidence, "not yet")
    return word, _answer(policy, stage, decision, facts.evidence_why)


def _answer(policy: str, stage: str, decision: int, why: str) -> GateAnswer:
    return GateAnswer(policy=policy, stage=stage, decision=decision, why=why)
