"""The wire contract of rollouts and gates."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from service.decisions.schemas import Strict
from service.policies.schemas import PolicyEvent
from service.rollout.logic import ApprovalState, Evidence, GateState
from service.rollout.shadow_sums import ShadowView

Why = Annotated[str, Meta(min_length=1, max_length=2000)]


class StartRequest(Strict, frozen=True):
    """Starts a rollout of `version`, a number, or as decisions write it, `digits@42`. `at`: `canary` goes round
    the shadow and the gate."""

    version: int | str
    why: Why
    at: Literal["gate", "canary"] = "gate"


class MoveRequest(Strict, frozen=True):
    """Moves a rollout on to its next stage or step, whatever the evidence."""

    why: Why


class AbortRequest(Strict, frozen=True):
    """Ends a rollout. `quarantine`: whether nothing is learned from the candidate's decisions any more."""

    why: Why
    quarantine: bool = False


class ArmView(Struct, frozen=True, kw_only=True):
    """One arm in one canary step, of decisions whose reward is known. Means are null where there are none."""

    step: int
    arm: Literal["canary", "live"]
    rewards: int
    mean_reward: float | None
    mean_cost: float | None
    mean_latency_ms: float | None


class ComparisonView(Struct, frozen=True, kw_only=True):
    """Mean of the canary less mean of the live arm: `difference`, give or take `radius`, at any moment.
    `rewards`: of the smaller arm."""

    metric: str
    difference: float
    radius: float
    rewards: int
    evidence: Evidence


class GateView(Struct, frozen=True, kw_only=True):
    """What stands between the shadow and the canary. `evaluation`: the job that was asked for last; the rest is
    what it found."""

    state: GateState
    why: str
    evaluation: str | None = None
    verdict: str | None = None
    lower: float | None = None
    baseline: float | None = None
    effective_rows: float | None = None
    rows: int | None = None


class NextMove(Struct, frozen=True, kw_only=True):
    """What the service would do now: move to a stage, ask for something, or stay. `at`: when time alone allows
    it."""

    move: str
    why: str
    at: str | None = None


class RolloutView(Struct, frozen=True, kw_only=True):
    """A rollout as it stands, or, with `stage` `none`, its absence. Times are RFC 3339.

    `evidence`: what the canary's rewards say, all metrics together. `steps`: the declared shares.
    """

    policy: str
    live: str
    stage: Literal["none", "candidate", "shadow", "canary", "waiting"]
    rollout_id: str | None = None
    candidate: str | None = None
    started_at: str | None = None
    since: str | None = None
    step: int | None = None
    share: float = 0.0
    steps: list[float] = []
    arms: list[ArmView] = []
    comparisons: list[ComparisonView] = []
    evidence: Evidence | None = None
    gate: GateView | None = None
    approval: str | None = None
    approval_state: ApprovalState | None = None
    next: NextMove | None = None
    shadows: list[ShadowView] = []


class ShadowsView(Struct, frozen=True, kw_only=True):
    """The candidates of a policy beside what was done. `skipped`: decisions that there was no time for."""

    policy: str
    skipped: int
    shadows: list[ShadowView]


class EventsView(Struct, frozen=True):
    """What was changed, by whom and why, newest first."""

    events: list[PolicyEvent]


class GateAnswer(Struct, frozen=True, kw_only=True):
    """An open gate. `decision`: as `nacre_canary_decision` has it."""

    policy: str
    stage: str
    decision: int
    why: str
