"""A canary against the live version: what their rewards, costs and latencies say, at any moment. Pure.

The confidence sequence takes decisions for independent. A subject stays in its arm, so where few subjects decide
often their rewards say less than they are counted for, and both ends are wrong more often than `alpha`; the log of
joined rewards does not say whose they are. Raise `least_rewards` there, or lower `alpha`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

from agent_core.monitoring.confidence_sequences import (
    Difference,
    Plan,
    asymptotic_interval,
    decide,
)
from service.rollout.logic import Evidence
from service.rollout.rule import RolloutRule
from service.rollout.sums import METRICS, StepSums

_WORSE_FIRST: Final[tuple[Evidence, ...]] = ("roll back", "ask a person", "continue", "promote")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric. `difference`: mean of the canary less that of the live arm, within `radius` at any moment.
    `size`: rewards of the smaller arm, over all steps."""

    metric: str
    difference: float
    radius: float
    size: int
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Judgement:
    """What all metrics say together: the worst of them."""

    evidence: Evidence
    why: str
    comparisons: tuple[Comparison, ...]


def judge(steps: Sequence[StepSums], rule: RolloutRule) -> Judgement:
    """`alpha` is shared by the metrics that are compared, so that together they hold it."""
    both = [one for one in steps if one.canary.count > 1 and one.live.count > 1]
    if not both:
        return Judgement("continue", "rewards of both arms are missing", ())
    parts = [Difference.of(one.canary.moments(), one.live.moments()) for one in both]
    difference = reduce(Difference.merged, parts)
    compared = _compared(rule)
    interval = asymptotic_interval(difference, rule.alpha / len(compared), rule.expected_rewards)
    found = []
    for column, metric, sign, margin in compared:
        plan = Plan(margin, rule.least_rewards, rule.most_rewards)
        evidence = decide(interval, difference.size, plan, column)
        value = sign * float(difference.value[column])
        radius = float(interval.high[column] - interval.low[column]) / 2
        found.append(Comparison(metric, value, radius, difference.size, evidence))
    worst = min(found, key=lambda one: _WORSE_FIRST.index(one.evidence))
    return Judgement(worst.evidence, _words(worst), tuple(found))


def _compared(rule: RolloutRule) -> list[tuple[int, str, int, float]]:
    """Column, name, sign back from "more is better", and margin of each metric that the rule compares."""
    margins = (rule.margin, rule.cost_margin, rule.latency_margin_ms)
    signs = (1, -1, -1)
    return [
        (column, metric, sign, margin)
        for column, (metric, sign, margin) in enumerate(zip(METRICS, signs, margins, strict=True))
        if margin is not None
    ]


def _words(one: Comparison) -> str:
    meaning = {
        "promote": "the canary is not worse by more than the margin",
        "roll back": "the canary is worse",
        "continue": "not decided yet",
        "ask a person": "too close to be decided",
    }
    return (
        f"{one.metric}: canary less live is {one.difference:.4g} +- {one.radius:.2g} "
        f"after {one.size} rewards: {meaning[one.evidence]}"
    )
