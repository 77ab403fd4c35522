"""How a candidate comes to traffic, as a policy file declares it."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from service.policies.section import Section


class CanaryStep(Section):
    """`share` of the subjects, for `at_least_s` seconds, before the next step may begin. Below 1: a canary that
    decides for all has nothing that it could be compared with."""

    share: float = Field(gt=0, lt=1)
    at_least_s: float = Field(600.0, ge=0)


def _rising(steps: tuple[CanaryStep, ...]) -> tuple[CanaryStep, ...]:
    for before, after in pairwise(steps):
        if after.share <= before.share:
            raise ValueError(
                f"a share of {after.share:g} follows one of {before.share:g}; "
                "let every step have a larger share than the one before it"
            )
    return steps


class Holdback(Section):
    """A `share` of the subjects that no version ever decides for: what everything is compared with in the end.

    `kind`: they get a uniform draw from the allowed actions, or the request's baseline action.
    """

    share: float = Field(gt=0, le=0.5)
    kind: Literal["uniform", "baseline"] = "uniform"


class GateRule(Section):
    """What evaluation on the log must show before a candidate meets traffic: the lower bound of its value, which
    is wrong with probability `delta` at most, is the live version's logged mean less `margin` or more, and
    the log is worth `effective_rows` decisions of the candidate's own.

    `constraints`: such as `cost<=0.1`, all of which must be shown to hold. `growth`: a candidate that was not
    shown to be good enough is evaluated again once there are that many times as many rewards. `patience_s`:
    how long after the end of its time in the shadow it is retired all the same; None waits for ever.
    """

    margin: float = Field(0.0, ge=0)
    delta: float = Field(0.05, gt=0, lt=0.5)
    effective_rows: float = Field(100.0, ge=11)
    constraints: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] = Field(
        (), max_length=32
    )
    growth: float = Field(2.0, ge=1.1, le=100)
    patience_s: float | None = Field(7 * 86_400.0, gt=0)


class RolloutRule(Section):
    """From candidate to traffic: shadow, gate, canary steps, live.

    `is_automatic`: whether the newest candidate sets out by itself. `shadow_s`: how long it is only scored
    beside the live one, and `shadow_versions`: how many of the newest candidates are, with `shadow_cpu` of one
    core at most. `gate`: None lets every candidate into the canary. `steps`: none sends a candidate from the
    gate to all traffic. `margin`, `cost_margin`, `latency_margin_ms`: by how much the canary's mean may be
    worse; None does not compare. `alpha`: how likely a canary that is no worse is rolled back, ever.
    `least_rewards`: of each arm in a step, before their comparison counts. `expected_rewards`: of each arm,
    where the comparison is sharpest; at `most_rewards` a person decides. `quarantine`: whether nothing is
    learned from the decisions of a canary that was rolled back.
    """

    is_automatic: bool = False
    shadow_s: float = Field(0.0, ge=0)
    shadow_versions: int = Field(4, ge=0, le=16)
    shadow_cpu: float = Field(0.1, gt=0, le=1)
    gate: GateRule | None = GateRule()
    steps: Annotated[tuple[CanaryStep, ...], AfterValidator(_rising), Field(max_length=100)] = (
        CanaryStep(share=0.01),
        CanaryStep(share=0.05),
        CanaryStep(share=0.25),
    )
    margin: float = Field(0.0, ge=0)
    cost_margin: float | None = Field(None, ge=0)
    latency_margin_ms: float | None = Field(None, ge=0)
    alpha: float = Field(0.05, gt=0, lt=0.5)
    least_rewards: int = Field(100, ge=2)
    expected_rewards: int = Field(5_000, ge=10)
    most_rewards: int = Field(100_000, ge=10)
    quarantine: bool = False
    holdback: Holdback | None = None
