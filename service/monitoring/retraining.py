"""When a candidate is trained without being asked for. It is only made: whether it decides is for the gate, or for a
person. No Redis, no clock."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from service.monitoring.judge import Alarm
from service.monitoring.rule import RetrainRule


class Need(Struct, frozen=True, kw_only=True):
    """What is known when it is asked. `streak`: windows in a row with other states. `asked_ms`: when training was asked
    for last, 0 for never. `live_age_s`: of the live version, 0 where there is none. `fresh`: transitions that no
    version knows. `effective_share`: what a decision of the log is worth for the live version, by its newest
    evaluation; None without one."""

    streak: int
    alarms: Mapping[str, Alarm]
    asked_ms: int
    live_age_s: float
    fresh: int
    effective_share: float | None = None


def why_retrain(rule: RetrainRule, need: Need, now_ms: int) -> str:
    """Why a candidate is wanted, empty where none is."""
    if need.asked_ms and now_ms < need.asked_ms + rule.cooldown_s * 1000:
        return ""
    if need.streak >= rule.drift_windows:
        return f"states were unlike the reference in {need.streak} windows in a row"
    if rule.on_value_error and need.alarms.get("value_error", Alarm()).level:
        return "rewards are not what the policy expects any more"
    share = need.effective_share
    if rule.effective_share is not None and share is not None and share < rule.effective_share:
        return f"a decision of the log is worth {share:.2g} of one of the live version's own"
    is_old = rule.oldest_s is not None and need.live_age_s > rule.oldest_s
    if is_old and need.fresh >= rule.fresh:
        return f"the live version is {need.live_age_s:.0f} s old, and {need.fresh} transitions wait"
    return ""
