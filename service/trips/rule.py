"""When a policy may not decide, and what does instead, as a policy file declares it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from service.policies.section import Section


class RewardTrip(Section):
    """Trips when the reward of the live arm fell, and stays down.

    `windows` of the last `of` are more than 2 standard errors below the baseline. `range`: the smallest and the
    largest total reward of a decision; declared, an e-detector watches every window too, and needs fewer of
    them. `false_after_windows`: its average time to a false trip, or longer.
    """

    windows: int = Field(3, ge=1)
    of: int = Field(5, ge=1, le=20)
    range: tuple[float, float] | None = None
    false_after_windows: int = Field(2_000, ge=10)

    @model_validator(mode="after")
    def _can_happen(self) -> RewardTrip:
        if self.windows > self.of:
            raise ValueError(f"`windows` is {self.windows}, and there are only {self.of} of them")
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError("`range` is the smallest reward, then a larger one")
        return self


class ConstraintRule(Section):
    """What decisions may cost, on average and at most.

    `component`: of rewards; None for their cost. Decisions without it cost 0. `budget`: of the mean; `largest`: what
    one decision can cost, so that costs are shares of it. `alpha`: how likely a policy that keeps its budget
    is ever tripped. `most`: a single decision above it trips at once; None has no such limit.
    """

    component: str | None = None
    budget: float = Field(gt=0)
    largest: float = Field(1.0, gt=0)
    alpha: float = Field(0.05, gt=0, lt=0.5)
    most: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _is_a_share(self) -> ConstraintRule:
        if self.budget >= self.largest:
            raise ValueError(f"`budget` must be below `largest`, which is {self.largest:g}")
        return self


class StateTrip(Section):
    """Trips when `windows` of the last `of` have states unlike the reference: their distance is beyond what all
    but one of a thousand windows of the reference reach."""

    windows: int = Field(3, ge=1)
    of: int = Field(5, ge=1, le=20)

    @model_validator(mode="after")
    def _can_happen(self) -> StateTrip:
        if self.windows > self.of:
            raise ValueError(f"`windows` is {self.windows}, and there are only {self.of} of them")
        return self


class LatencyTrip(Section):
    """Trips when a window breaks the latency budget.

    `deadline_share`: more than this share of decisions ran out of time and were answered by the fallback. `p99_ms`:
    the slowest hundredth took longer; None does not look.
    """

    deadline_share: float = Field(0.05, gt=0, lt=1)
    p99_ms: float | None = Field(None, gt=0)


class TripRule(Section):
    """A part that is not declared does not trip.

    `serve`: what decides while the policy is tripped: the version before the live one, or the policy's declared
    `fallback`. `least_confidence`: a single decision whose most likely action is less likely than this is
    answered by the fallback; 0 never does. `reward`, `constraints`, `state`, `latency`: what trips.
    `exploration`: whether its collapse does. `recover_s`: after how long a tripped policy decides again by
    itself. `recover_windows`: after how many windows in a row in which what tripped it is well again. With
    neither, a person decides.
    """

    serve: Literal["previous", "fallback"] = "fallback"
    least_confidence: float = Field(0.0, ge=0, le=1)
    reward: RewardTrip | None = None
    constraints: dict[str, ConstraintRule] = Field({}, max_length=16)
    state: StateTrip | None = None
    latency: LatencyTrip | None = None
    exploration: bool = False
    recover_s: float | None = Field(None, gt=0)
    recover_windows: int | None = Field(None, ge=1)
