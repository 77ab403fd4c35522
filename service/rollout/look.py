"""One look at a rollout: everything that its next move rests on, read at once.

The worker looks in order to move it, the API in order to show it: both see the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
import structlog

from service.approvals.promotions import Promotions
from service.approvals.schemas import Item
from service.errors import ServiceError
from service.evaluation.schemas import EvaluationJob, EvaluationRequest
from service.policies import head
from service.policies.config import PolicyConfig
from service.policies.head import Rollout
from service.policies.repository import PolicyMeta
from service.repository import PolicyKeys
from service.rollout import gate
from service.rollout.gate import Finding, Standing
from service.rollout.judge import Judgement, judge
from service.rollout.logic import ApprovalState, Facts
from service.rollout.rule import GateRule
from service.rollout.sums import RolloutSums

log = structlog.get_logger(__name__)

_NO_GATE: Final = Finding("waiting", "no gate is declared")


class Evaluations(Protocol):
    """The queue of evaluations."""

    async def ask(self, keys: PolicyKeys, request: EvaluationRequest, who: str) -> str:
        """Queues one; returns its id."""
        ...

    async def find(self, keys: PolicyKeys, job_id: str) -> EvaluationJob | None:
        """How it stands; None if it is no longer kept."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What is known of `rollout`. `job`: the evaluation that the gate asked for last."""

    rollout: Rollout
    facts: Facts
    judgement: Judgement
    standing: Standing
    job: EvaluationJob | None


class Lookout:
    """Looks at rollouts."""

    def __init__(self, evaluations: Evaluations, promotions: Promotions) -> None:
        self._evaluations = evaluations
        self._promotions = promotions

    async def look(
        self,
        keys: PolicyKeys,
        config: PolicyConfig,
        meta: PolicyMeta,
        rollout: Rollout,
        sums: RolloutSums,
        now_ms: int,
    ) -> Look:
        """`sums`: of the policy's log, as far as it is read."""
        rule, trip = config.rollout, head.read_trip(meta.trip)
        judgement = judge(sums.steps(rollout), rule)
        standing = Standing.of(sums, rollout.candidate, meta.live)
        job = await self._job(keys, rollout)
        found = _NO_GATE
        if rule.gate is not None:
            over = _is_over(rollout, rule.gate, rule.shadow_s, now_ms)
            found = gate.find(job, standing, rule.gate, is_out_of_patience=over)
        facts = Facts(
            found.state,
            found.why,
            judgement.evidence,
            judgement.why,
            await self._approval(keys, config, rollout),
            trip.signal if trip else "",
        )
        return Look(rollout, facts, judgement, standing, job)

    async def _job(self, keys: PolicyKeys, rollout: Rollout) -> EvaluationJob | None:
        if not rollout.evaluation:
            return None
        try:
            return await self._evaluations.find(keys, rollout.evaluation)
        except msgspec.MsgspecError as error:  # another Nacre wrote it: it is asked for anew
            log.warning("evaluation_unreadable", job=rollout.evaluation, error=str(error))
            return None

    async def _approval(
        self, keys: PolicyKeys, config: PolicyConfig, rollout: Rollout
    ) -> ApprovalState:
        if rollout.approval:
            try:
                return _state_of(await self._promotions.find(keys, rollout.approval))
            except ServiceError:  # it is no longer kept, so nobody has approved it
                return "rejected"
        needs_one = config.approval is not None and config.approval.promotions
        return "missing" if needs_one else "not needed"


def _state_of(item: Item) -> ApprovalState:
    if item.state in ("pending", "approved"):
        return "pending" if item.state == "pending" else "approved"
    return "rejected"


def _is_over(rollout: Rollout, rule: GateRule, shadow_s: float, now_ms: int) -> bool:
    if rule.patience_s is None or rollout.stage != "shadow":
        return False
    return now_ms > rollout.since_ms + (shadow_s + rule.patience_s) * 1000
