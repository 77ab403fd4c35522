"""What was judged, as metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from agent_core.monitoring.propensities import action_chi_squared
from service import metrics
from service.joining.logic import JoinedEvent
from service.monitoring.judge import Alarm, AlarmChange
from service.monitoring.readings import Reading, finite
from service.monitoring.signals.joins import ENDINGS
from service.monitoring.signals.rewards import expected_reward
from service.monitoring.watching import References, Verdict
from service.policies.config import PolicyConfig
from service.policies.schemas import PolicyEvent
from service.trips.constraints import Evidence

_QUANTILES: Final = (0.1, 0.5, 0.9)
_LEVELS: Final = ("warning", "trip")
_KINDS: Final = {
    ("states", "psi"): "psi",
    ("states", "mmd"): "mmd",
    ("states", "kl"): "kl",
    ("actions", "psi"): "actions",
    ("rewards", "psi"): "rewards",
    ("value_error", ""): "value_error",
}


def count_joined(policy: str, joined: Iterable[JoinedEvent]) -> None:
    """Adds decisions that were closed to the sums of their arms."""
    for one in joined:
        if one.reward is not None:
            metrics.count_reward(policy, one.arm or "live", one.reward, max(one.cost, 0.0))
        if one.delay_ms >= 0:
            metrics.REWARD_DELAY.labels(policy).observe(one.delay_ms / 1000)


def count_move(policy: str, event: PolicyEvent) -> None:
    """One trip, or one recovery."""
    if event.what == "trip":
        metrics.TRIPS.labels(policy, str(event.detail.get("signal", ""))).inc()
    else:
        metrics.RECOVERIES.labels(policy, str(event.detail.get("how", ""))).inc()


def show(config: PolicyConfig, verdict: Verdict, references: References) -> None:
    """The gauges of one window."""
    policy, sums = config.policy, verdict.window.sums
    for reading in verdict.readings:
        _show_drift(policy, reading)
    for name, shown in _SHOWN.items():
        if name in sums:
            shown(policy, sums[name])
    frozen = references.outcomes.sums.get("rewards") if references.outcomes else None
    if frozen is not None or config.monitoring.baseline is not None:
        expected = expected_reward(frozen, config.monitoring.baseline)
        metrics.REWARD_BASELINE.labels(policy).set(expected)


def show_alarms(policy: str, alarms: Mapping[str, Alarm], changes: Iterable[AlarmChange]) -> None:
    """1 for the level of each signal, 0 for the others, and one more for each that rose."""
    levels = {change.signal: change.level for change in changes}
    levels |= {signal: alarm.level for signal, alarm in alarms.items()}
    for signal, now in levels.items():
        for level in _LEVELS:
            metrics.ALARM.labels(policy, signal, level).set(now == level)
    for change in changes:
        if change.level and change.before != "trip":
            metrics.ALARMS.labels(policy, change.signal, change.level).inc()


def forget_evidence(policy: str) -> None:
    """Drops what was shown of constraints: they may not be declared any more."""
    for gauge in (metrics.SAFETY_E_VALUE, metrics.SAFETY_E_VALUE_LIMIT):
        gauge.remove_by_labels({"policy": policy})


def show_evidence(config: PolicyConfig, evidence: Mapping[str, Evidence]) -> None:
    """The wealth of every constraint, and what it would trip at."""
    for name, rule in config.trips.constraints.items():
        wealth = finite(math.exp(evidence.get(name, Evidence()).log_wealth))
        metrics.SAFETY_E_VALUE.labels(config.policy, name).set(wealth)
        metrics.SAFETY_E_VALUE_LIMIT.labels(config.policy, name).set(1 / rule.alpha)


def count_violations(policy: str, before: Mapping[str, int], after: Mapping[str, Evidence]) -> None:
    """Decisions over the budgets since `before`."""
    for name, evidence in after.items():
        fresh = evidence.violations - before.get(name, 0)
        metrics.SAFETY_VIOLATIONS.labels(policy, name).inc(max(fresh, 0))


def _show_drift(policy: str, reading: Reading) -> None:
    kind = _KINDS.get((reading.signal, reading.kind))
    if kind is None:
        return
    metrics.DRIFT_SCORE.labels(policy, kind).set(reading.value)
    if reading.p_value is not None:
        metrics.DRIFT_P_VALUE.labels(policy, kind).set(reading.p_value)


def _show_rewards(policy: str, sums: Any) -> None:
    metrics.REWARD_MEAN.labels(policy).set(float(sums.columns.mean[-1]))


def _show_quantiles(policy: str, sums: Any) -> None:
    for quantile in _QUANTILES:
        metrics.REWARD_QUANTILE.labels(policy, f"{quantile:g}").set(sums.quantile(quantile))


def _show_joins(policy: str, sums: Any) -> None:
    for ending, share in zip(ENDINGS, sums.shares.tolist(), strict=True):
        metrics.JOIN_SHARE.labels(policy, ending).set(share)


def _show_propensity(policy: str, sums: Any) -> None:
    metrics.WEIGHT_MEAN.labels(policy).set(sums.weights.mean)
    metrics.WEIGHT_MAX.labels(policy).set(sums.weights.largest)
    metrics.CHI_SQUARED_P_VALUE.labels(policy).set(action_chi_squared(sums.actions)[2])


def _show_entropy(policy: str, sums: Any) -> None:
    if sums.count:
        metrics.ENTROPY_SHARE.labels(policy).set(sums.mean)


_SHOWN: Final[Mapping[str, Callable[[str, Any], None]]] = {
    "rewards": _show_rewards,
    "reward_sketch": _show_quantiles,
    "joins": _show_joins,
    "propensity": _show_propensity,
    "exploration": _show_entropy,
}
