"""How a policy is watched, as a policy file declares it. Without the section these defaults hold."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from service.policies.section import Section

SignalName = Literal[
    "reward", "rewards", "too_good", "range", "correlation", "components", "value_error", "joins", "delay",
    "states", "actions", "propensity", "exploration", "latency",
]  # fmt: skip
"""What may be watched; see `service.monitoring.signals`."""


class RetrainRule(Section):
    """When a candidate is trained without being asked for. It never goes live by itself.

    `drift_windows`: as many windows in a row with states unlike the reference. `on_value_error`: whether an alarm of
    `value_error` asks for one too. `effective_share`: the newest evaluation of the live version found each decision of the log to be worth less than this
    share of one of its own; None does not look. `oldest_s`: the live version is older, and `fresh` transitions or more
    wait; None does not look. `cooldown_s`: at least so long between two.
    """

    drift_windows: int = Field(3, ge=1)
    on_value_error: bool = True
    effective_share: float | None = Field(None, gt=0, lt=1)
    oldest_s: float | None = Field(None, gt=0)
    fresh: int = Field(1_000, ge=1)
    cooldown_s: float = Field(3_600.0, gt=0)


class MonitoringRule(Section):
    """Windows over the log, each compared with a reference that is frozen.

    `window`: decisions in a window; a window of `window_s` seconds is closed with fewer, but with
    `least` or more. `kept`: windows that can be looked at. `reference`: sampled decisions, the first of a version line,
    that the following are compared with. `reference_of`: whether states are compared with those of these
    decisions, or with the first that the version line was trained on; a policy with a history has only the former.
    `baseline`: the mean reward that is expected; None freezes the
    mean of the first `baseline_window` rewards of the live arm. `samples_per_s`: decisions that are read
    whole; of all others only the outcome is. `silent`: signals that are shown
    and raise no alarm; None takes those that learning itself changes, see `service.monitoring.judge`. `p_value`: below this a comparison counts as
    a difference. `errors`: standard errors between two means from which they count as different.
    `exploration`: the least mean entropy, as a share of that of uniform decisions, of a policy
    that explored more than that at first.
    """

    window: int = Field(1_000, ge=30, le=100_000)
    window_s: float | None = Field(None, gt=0)
    least: int = Field(100, ge=30)
    kept: int = Field(60, ge=5, le=1_000)
    reference: int = Field(4_000, ge=100, le=50_000)
    reference_of: Literal["decisions", "training"] = "decisions"
    baseline: float | None = None
    baseline_window: int = Field(2_000, ge=30, le=100_000)
    samples_per_s: float = Field(50.0, gt=0, le=10_000)
    silent: tuple[SignalName, ...] | None = None
    p_value: float = Field(0.001, gt=0, le=0.1)
    errors: float = Field(4.0, ge=2)
    exploration: float = Field(0.001, ge=0, lt=1)
    retrain: RetrainRule | None = None

    @model_validator(mode="after")
    def _can_be_compared(self) -> MonitoringRule:
        if self.reference < 2 * self.window:
            raise ValueError(
                f"`reference` is {self.reference}; windows of {self.window} need {2 * self.window} or more"
            )
        return self
