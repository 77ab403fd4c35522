"""What candidates would have done and earned, as sums that merge in any order. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np
import structlog
from msgspec import Struct

from agent_core.evaluation.diagnostics import WeightSums
from agent_core.evaluation.moments import Moments, self_normalized
from agent_core.evaluation.terms import Terms

log = structlog.get_logger(__name__)

Group = Literal["online", "apprentice"]
"""Decisions that the policy took, and those in which it watched the baseline being taken."""
_ERRORS: Final = 3.0
"""Standard errors within which the mean weight must be 1, for the log to know what the candidate does."""


class Scored(NamedTuple):
    """One decision as one candidate sees it. `is_match`: whether it would have taken the same action;
    `probability`: with which it takes that action; `ratio`: of this to the probability in the log."""

    is_match: bool
    probability: float
    ratio: float


class ShadowSums(Struct, array_like=True):
    """One candidate on one group. `mean`, `scatter`, `rewarded`: the moments of (minus the reward, ratio times
    reward, ratio), so that their estimates are of a lift; the next three are of `WeightSums`. `smallest`:
    propensity of what both would do."""

    scored: int = 0
    matches: int = 0
    probability: float = 0.0
    rewarded: int = 0
    mean: list[float] = []
    scatter: list[list[float]] = []
    squares: float = 0.0
    shared: float = 0.0
    largest: float = 0.0
    smallest: float = 1.0

    def score(self, one: Scored) -> None:
        self.scored += 1
        self.matches += one.is_match
        self.probability += one.probability
        if one.ratio > 0:
            self.smallest = min(self.smallest, one.probability / one.ratio)

    def reward(self, ratios: Sequence[float], rewards: Sequence[float]) -> None:
        """Takes in decisions whose rewards became known, at least one."""
        ratio, reward = np.array(ratios), np.array(rewards)
        moments = Moments.of(Terms(-reward, ratio * reward, ratio))
        if self.rewarded:
            moments = self._moments().merged(moments)
        self.rewarded, self.mean = moments.count, moments.mean.tolist()
        self.scatter = moments.scatter.tolist()
        self.squares += float(ratio @ ratio)
        self.shared += float(np.minimum(ratio, 1.0).sum())
        self.largest = max(self.largest, float(ratio.max()))

    def _moments(self) -> Moments:
        return Moments(self.rewarded, np.array(self.mean), np.array(self.scatter))

    def view(self, version: str, group: Group) -> ShadowView:
        """What people see."""
        lift = error = mean_weight = effective = logged = None
        is_supported = False
        if self.rewarded:
            weights = self._weights()
            estimate = self_normalized(self._moments())
            lift, error = _finite(estimate.value), None
            if self.rewarded > 1:
                error = _finite(estimate.standard_error)
            mean_weight, effective = weights.mean, weights.effective_size
            logged = -self.mean[0]
            is_supported = abs(weights.mean - 1) <= _ERRORS * self._mean_error() + 1e-9
        return ShadowView(
            model_version=version,
            group=group,
            scored=self.scored,
            match_rate=self.matches / self.scored if self.scored else None,
            mean_probability=self.probability / self.scored if self.scored else None,
            rewarded=self.rewarded,
            logged=logged,
            lift=lift,
            lift_error=error,
            mean_weight=mean_weight,
            effective_rows=effective,
            is_supported=is_supported,
        )

    def _mean_error(self) -> float:
        """Of the mean weight, at most: no weight is above 1 / `smallest`, and their mean is 1, so their variance is
        not above that less 1. One from the weights that were seen is too small while a rare one was not."""
        return math.sqrt((1 / self.smallest - 1) / self.rewarded)

    def _weights(self) -> WeightSums:
        total = self.mean[2] * self.rewarded
        return WeightSums(self.rewarded, total, self.squares, self.shared, self.largest)


class ShadowView(Struct, frozen=True, kw_only=True):
    """A candidate beside what was done, from decisions of one group that it was asked about.

    `match_rate`: how often it would have done the same. `mean_probability`: with which it does what was done.
    `logged`: mean reward of what was done; `lift`: the candidate's less that, self-normalized, give or take
    `lift_error`; null where nothing is known. `mean_weight`: 1 where the log has tried all that the candidate
    does; `is_supported`: whether it is, but for chance. A lift without support is about the cases in which
    both agree, and no more. `effective_rows`: how many decisions of its own these are worth.
    """

    model_version: str
    group: Group
    scored: int
    match_rate: float | None
    mean_probability: float | None
    rewarded: int
    logged: float | None
    lift: float | None
    lift_error: float | None
    mean_weight: float | None
    effective_rows: float | None
    is_supported: bool


class ShadowState(Struct, array_like=True):
    """What the follower keeps: sums of each candidate, of each group."""

    versions: dict[int, dict[Group, ShadowSums]] = {}
    skipped: int = 0

    def views(self, policy: str) -> list[ShadowView]:
        """Newest candidate first."""
        return [
            sums.view(f"{policy}@{version}", group)
            for version, groups in sorted(self.versions.items(), reverse=True)
            for group, sums in sorted(groups.items(), reverse=True)
        ]


encode_state: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(ShadowState).decode


def read_state(body: bytes) -> ShadowState:
    """What another worker kept; nothing, if another Nacre kept it in a form that this one does not know."""
    try:
        return _decode(body) if body else ShadowState()
    except msgspec.MsgspecError as error:
        log.warning("shadow_sums_unreadable", error=str(error), action="beginning from nothing")
        return ShadowState()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
