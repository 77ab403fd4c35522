"""How a candidate comes to traffic, as a policy file declares it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.policies.section import Section


class CanaryStep(Section):
    """`share` of the subjects, for `at_least_s` seconds, before the next step may begin."""

    share: float = Field(gt=0, le=1)
    at_least_s: float = Field(600.0, ge=0)


class Holdback(Section):
    """A `share` of the subjects that no version ever decides for: what everything is compared with in the end.

    `kind`: they get a uniform draw from the allowed actions, or the request's baseline action.
    """

    share: float = Field(gt=0, le=0.5)
    kind: Literal["uniform", "baseline"] = "uniform"


class GateRule(Section):
    """What evaluation on the log must show before a candidate meets traffic: the lower bound of its value, which
    is wrong with probability `delta` at most, is the live version's logged mean less `margin` or more, and
    the log is worth `effective_rows` decisions of the candidate's own."""

    margin: float = Field(0.0, ge=0)
    delta: float = Field(0.05, gt=0, lt=0.5)
    effective_rows: float = Field(100.0, gt=10)


class RolloutRule(Section):
    """From candidate to traffic: shadow, gate, canary steps, live.

    `is_automatic`: whether the newest candidate sets out by itself. `shadow_s`: how long it is only scored
    beside the live one, and `shadow_versions`: how many of the newest candidates are. `gate`: None lets every candidate
    into the canary. `steps`: none sends a candidate from the gate to all traffic. `margin`, `cost_margin`,
    `latency_margin_ms`: by how much the canary's mean may be worse; None does not compare. `alpha`: how likely a
    canary that is no worse is rolled back, ever. `expected_rewards`: of each arm, where the comparison is
    sharpest; at `most_rewards` a person decides.
    """

    is_automatic: bool = False
    shadow_s: float = Field(0.0, ge=0)
    shadow_versions: int = Field(4, ge=0, le=16)
    gate: GateRule | None = GateRule()
    steps: tuple[CanaryStep, ...] = (
        CanaryStep(share=0.01),
        CanaryStep(share=0.05),
        CanaryStep(share=0.25),
    )
    margin: float = Field(0.0, ge=0)
    cost_margin: float | None = Field(None, ge=0)
    latency_margin_ms: float | None = Field(None, ge=0)
    alpha: float = Field(0.05, gt=0, lt=0.5)
    expected_rewards: int = Field(5_000, ge=10)
    most_rewards: int = Field(100_000, ge=10)
    holdback: Holdback | None = None
