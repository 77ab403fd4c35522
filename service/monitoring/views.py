"""What was seen, for those who ask."""

from __future__ import annotations

import math
from collections.abc import Mapping

from service.clock import rfc3339
from service.monitoring.judge import Alarm, why
from service.monitoring.readings import finite
from service.monitoring.schemas import (
    AlarmView,
    ConstraintView,
    MonitoringView,
    ReferenceView,
    WindowView,
)
from service.monitoring.signals.rewards import expected_reward
from service.monitoring.watching import References, Verdict, Watching
from service.monitoring.windows import Window
from service.policies.config import PolicyConfig
from service.trips.constraints import Evidence


def window_of(arm: str, verdict: Verdict) -> WindowView:
    """A window as it is kept to be looked at."""
    window = verdict.window
    return WindowView(
        kind=verdict.kind,
        arm=arm,
        began_at=rfc3339(window.began_ms),
        ended_at=rfc3339(window.ended_ms),
        rows=window.count,
        readings=list(verdict.readings),
    )


def status_of(
    config: PolicyConfig, watching: Watching, references: References, now_ms: int
) -> MonitoringView:
    """How watching stands."""
    return MonitoringView(
        policy=config.policy,
        at=rfc3339(now_ms),
        arm=watching.kept.arm,
        waiting={
            "outcomes": _rows(watching.outcomes.open) or 0,
            "decisions": _rows(watching.decisions.open) or 0,
        },
        reference=_reference_of(config, watching.kept.lineage, references),
        alarms=alarms_of(watching.alarms),
        constraints=_constraints_of(config, watching.kept.evidence),
    )


def alarms_of(alarms: Mapping[str, Alarm]) -> list[AlarmView]:
    """Every signal that was read, by name."""
    return [
        AlarmView(
            signal=signal,
            level=alarm.level,
            since=rfc3339(alarm.since_ms) if alarm.since_ms else "",
            why=why(signal, alarm.reading),
            reading=alarm.reading,
        )
        for signal, alarm in sorted(alarms.items())
    ]


def _reference_of(config: PolicyConfig, lineage: int, references: References) -> ReferenceView:
    rewards = references.outcomes.sums.get("rewards") if references.outcomes else None
    is_known = rewards is not None or config.monitoring.baseline is not None
    return ReferenceView(
        lineage=lineage,
        outcomes=_rows(references.outcomes),
        decisions=_rows(references.decisions),
        states=references.states.sums.moments.count if references.states else None,
        baseline=expected_reward(rewards, config.monitoring.baseline) if is_known else None,
    )


def _constraints_of(config: PolicyConfig, evidence: Mapping[str, Evidence]) -> list[ConstraintView]:
    found = []
    for name, rule in config.trips.constraints.items():
        known = evidence.get(name, Evidence())
        found.append(
            ConstraintView(
                constraint=name,
                e_value=finite(math.exp(known.log_wealth)),
                highest=finite(math.exp(known.highest)),
                limit=1 / rule.alpha,
                violations=known.violations,
            )
        )
    return found


def _rows(window: Window | None) -> int | None:
    return window.count if window else None
