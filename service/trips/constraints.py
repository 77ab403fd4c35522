"""What decisions may cost: evidence about the mean, as decisions are joined, and single ones that cost too much.

    e-process     products of 1 + bet (cost - budget), in shares of the largest cost, one factor a decision and
                  one product for each decision from which on harm may be done, with shares that sum to 1; while
                  the mean cost is within the budget it ever reaches 1 / alpha with probability alpha at most
    hard limit    one cost above `most`, told when the reward arrives, before its decision is joined

No Redis, no clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from agent_core.monitoring.detectors import EProcess
from agent_core.monitoring.evidence import Span, rise_bet, rise_log_ratio
from agent_core.types import Doubles
from service.trips.rule import ConstraintRule

_HARM: Final = 1.5
"""The bet grows fastest where the mean cost is this many times the budget."""


class Evidence(Struct, frozen=True, kw_only=True):
    """About one constraint: the e-process as `EProcess` keeps it, and decisions over the budget."""

    count: int = 0
    log_begun: float = -math.inf
    highest: float = 0.0
    violations: int = 0

    @property
    def log_wealth(self) -> float:
        """ln of the evidence now; of none it is 0."""
        return EProcess(1.0, self.count, self.log_begun).log_wealth


class TooMuch(Struct, frozen=True, array_like=True):
    """A single cost above its constraint's `most`."""

    decision_id: str
    constraint: str
    cost: float


def cost_of(rule: ConstraintRule, cost: float, components: Mapping[str, float]) -> float:
    """What the constraint counts of a decision or of a reward."""
    return cost if rule.component is None else components.get(rule.component, 0.0)


def after(evidence: Evidence, rule: ConstraintRule, costs: Doubles) -> Evidence:
    """The evidence with the costs `[T]` of more decisions, T >= 1."""
    process = _process(evidence, rule).after(
        rise_log_ratio(costs, Span(0.0, rule.largest), rule.budget, bet_of(rule))
    )
    return Evidence(
        count=process.count,
        log_begun=process.log_begun,
        highest=process.highest,
        violations=evidence.violations + int((costs > rule.budget).sum()),
    )


def is_broken(evidence: Evidence, rule: ConstraintRule) -> bool:
    """Whether the wealth ever reached 1 / alpha."""
    return _process(evidence, rule).is_tripped


def bet_of(rule: ConstraintRule) -> float:
    """Fixed beforehand, as it must be: for the widest spread that a mean at the budget can have."""
    span = Span(0.0, rule.largest)
    changed = min(_HARM * rule.budget, (rule.budget + rule.largest) / 2)
    return rise_bet(span, rule.budget, rule.budget * (rule.largest - rule.budget), changed)


def too_much(
    rules: Mapping[str, ConstraintRule],
    decision_id: str,
    cost: float,
    components: Mapping[str, float],
) -> Sequence[TooMuch]:
    """The hard limits that one reward breaks."""
    return [
        TooMuch(decision_id, name, found)
        for name, rule in rules.items()
        if rule.most is not None and (found := cost_of(rule, cost, components)) > rule.most
    ]


def costs_of(
    rule: ConstraintRule, decisions: Sequence[tuple[float, Mapping[str, float]]]
) -> Doubles:
    """`[T]`, of pairs of a decision's cost and its components."""
    return np.array([cost_of(rule, cost, parts) for cost, parts in decisions], np.float64)


def _process(evidence: Evidence, rule: ConstraintRule) -> EProcess:
    return EProcess(rule.alpha, evidence.count, evidence.log_begun, evidence.highest)
