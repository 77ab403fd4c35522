"""What Prometheus sees of rollouts; set by the worker that drives them."""

from __future__ import annotations

from typing import Final

from service import metrics
from service.rollout.judge import Judgement
from service.rollout.logic import Evidence

_STAGES: Final = ("candidate", "shadow", "canary", "waiting", "live", "retired")
DECISIONS: Final[dict[Evidence, int]] = {
    "roll back": -1,
    "continue": 0,
    "promote": 1,
    "ask a person": 2,
}
"""The numbers of `nacre_canary_decision`."""


def show(policy: str, stage: str, share: float, judgement: Judgement | None) -> None:
    """`stage`: of the newest rollout, empty if there never was one. `judgement`: None outside of a canary."""
    for one in _STAGES:
        metrics.ROLLOUT_STAGE.labels(policy, one).set(one == stage)
    metrics.CANARY_SHARE.labels(policy).set(share)
    decision = DECISIONS[judgement.evidence] if judgement else 0
    metrics.CANARY_DECISION.labels(policy).set(decision)
    for compared in judgement.comparisons if judgement else ():
        metrics.CANARY_DIFFERENCE.labels(policy, compared.metric).set(compared.difference)
        metrics.CANARY_RADIUS.labels(policy, compared.metric).set(compared.radius)
