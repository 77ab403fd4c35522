"""Drives the rollouts of all policies, inside the worker.

    log -> sums -> every look: what is known -> `logic.advance` -> the head, if it is still what was seen

A move that somebody else was faster with is forgotten: the next look sees what they did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from service.approvals.promotions import Promotions
from service.errors import ServiceError
from service.following.observer import LogEvent, Observer, Opener
from service.joining.joiner import Watched
from service.policies import head
from service.policies.head import Rollout
from service.policies.repository import PolicyMeta, PolicyRepository
from service.rollout import gate, gauges, logic
from service.rollout.judge import Judgement
from service.rollout.logic import Asked, Moved
from service.rollout.look import Evaluations, Look, Lookout
from service.rollout.moves import ITSELF, Mover, start
from service.rollout.sums import RolloutSums
from service.webhooks import Announce

log = structlog.get_logger(__name__)

NAME: Final = "rollout"
"""Under which the follower keeps the sums."""
_LOOK_MS: Final = 100
"""Between two looks: what is to be rolled back is so within a second of the reward that shows it."""

_STUCK_MS: Final = 2_000
"""After an evaluation or an approval that could not be asked for."""


def opener(
    policies: PolicyRepository,
    evaluations: Evaluations,
    promotions: Promotions,
    announce: Announce,
) -> Opener:
    """Opens the driver of any policy: a rollout can be started by a person where none is declared."""

    def open_one(policy: Watched, state: bytes) -> Observer:
        return RolloutDriver(policies, evaluations, promotions, announce, state)

    return open_one


class RolloutDriver:
    """An `Observer` of one policy's log that moves its rollout."""

    def __init__(
        self,
        policies: PolicyRepository,
        evaluations: Evaluations,
        promotions: Promotions,
        announce: Announce,
        state: bytes,
    ) -> None:
        self._policies = policies
        self._evaluations = evaluations
        self._promotions = promotions
        self._announce = announce
        self._lookout = Lookout(evaluations, promotions)
        self._sums = RolloutSums(state)
        self._look_at_ms = 0

    def take(self, events: Sequence[LogEvent]) -> None:
        self._sums.take(events)

    def state(self) -> bytes:
        return self._sums.state()

    async def act(self, policy: Watched, now_ms: int) -> None:
        """One look, if it is time for it, and at most one move."""
        if now_ms < self._look_at_ms:
            return
        self._look_at_ms = now_ms + _LOOK_MS
        # What the worker saw lately is enough to see that there is nothing to do, not to move something.
        meta = await self._policies.meta(policy.keys) if policy.meta.rollout else policy.meta
        if meta is None:
            return
        try:
            rollout = head.read_rollout(meta.rollout)
            if rollout is None:
                await self._idle(policy, meta, now_ms)
            else:
                await self._drive(policy, meta, rollout, now_ms)
        except ServiceError as error:
            self._look_at_ms = now_ms + _STUCK_MS
            log.warning(
                "rollout_stuck", policy=policy.keys.policy, error=str(error), action="looking again"
            )

    # -- a rollout under way ------------------------------------------------------------------------

    async def _drive(
        self, policy: Watched, meta: PolicyMeta, rollout: Rollout, now_ms: int
    ) -> None:
        keys, rule = policy.keys, policy.config.rollout
        look = await self._lookout.look(keys, policy.config, meta, rollout, self._sums, now_ms)
        judgement = look.judgement if rollout.share else None
        gauges.show(keys.policy, rollout.stage, rollout.share, judgement)
        mover = Mover(self._policies, keys, meta, ITSELF, now_ms)
        match logic.advance(rollout, look.facts, rule, now_ms):
            case Moved() as move:
                await self._move(policy, mover, look, move)
            case Asked(what="evaluation", why=why):
                await self._ask_evaluation(policy, mover, look, why)
            case Asked(why=why):
                await self._ask_approval(policy, mover, look, why)

    async def _move(self, policy: Watched, mover: Mover, look: Look, move: Moved) -> None:
        rollout = look.rollout
        if move.to == "live" and rollout.approval:
            move = await use_approval(self._promotions, policy, rollout, move)
        numbers = numbers_of(look.judgement)
        is_harm = move.to == "retired" and rollout.share > 0
        quarantine = is_harm and policy.config.rollout.quarantine
        if await mover.move(rollout, move, numbers=numbers, quarantine=quarantine):
            self._tell(policy, rollout, move, numbers)

    def _tell(
        self, policy: Watched, rollout: Rollout, move: Moved, numbers: dict[str, float]
    ) -> None:
        gauges.show(policy.keys.policy, move.to, move.rollout.share if move.rollout else 0.0, None)
        tell(self._announce, policy.keys.policy, rollout, move, ITSELF, numbers)

    async def _ask_evaluation(self, policy: Watched, mover: Mover, look: Look, why: str) -> None:
        rollout, rule = look.rollout, policy.config.rollout.gate
        assert rule is not None, "without a gate nothing is evaluated"
        description = await self._policies.version(policy.keys, rollout.candidate)
        if description is None:
            move = Moved("retired", None, "the version is gone from the registry")
            await self._move(policy, mover, look, move)
            return
        request = gate.request_for(
            policy.config, rollout.candidate, description.made_at, look.standing, rule
        )
        job_id = await self._evaluations.ask(policy.keys, request, ITSELF)
        rewards = self._sums.kept.rewards
        await mover.note(rollout, "evaluation", job_id, why=why, rewards=rewards)

    async def _ask_approval(self, policy: Watched, mover: Mover, look: Look, why: str) -> None:
        rule, rollout = policy.config.approval, look.rollout
        assert rule is not None, "only a declared approval is missing"
        item = await self._promotions.ask(
            policy.keys,
            rule,
            rollout.candidate,
            who=ITSELF,
            why=why,
            evidence={"gate": look.facts.gate_why, **numbers_of(look.judgement)},
        )
        await mover.note(rollout, "approval", item.approval_id, why=why, rewards=0)

    # -- no rollout under way -----------------------------------------------------------------------

    async def _idle(self, policy: Watched, meta: PolicyMeta, now_ms: int) -> None:
        kept = self._sums.kept
        ended = kept.to if kept.to in ("live", "retired") else ""
        gauges.show(policy.keys.policy, ended, 0.0, None)
        is_new = kept.newest > max(meta.live, kept.tried)
        if not (policy.config.rollout.is_automatic and is_new and not meta.is_pinned):
            return
        try:
            await start(
                self._policies, policy.keys, policy.config, kept.newest,
                at="gate", who=ITSELF, why="the newest candidate", at_ms=now_ms,
            )  # fmt: skip
        except ServiceError:
            # A version that nobody may serve stays where it is: the next one may be better.
            self._look_at_ms = now_ms + _STUCK_MS


async def use_approval(
    promotions: Promotions, policy: Watched, rollout: Rollout, move: Moved
) -> Moved:
    """`move`, with the approval used up; the end of the rollout where it does not hold for the snapshot any more."""
    try:
        await promotions.use(policy.keys, rollout.approval, who=ITSELF)
    except ServiceError as error:
        item = await promotions.find(policy.keys, rollout.approval)
        # Used before, by a worker that died before it could move the pointer: the head says that it is ours.
        if item.used_ms is None:
            return Moved("retired", None, error.detail)
    return move


def tell(
    announce: Announce,
    policy: str,
    rollout: Rollout,
    move: Moved,
    who: str,
    numbers: dict[str, float],
) -> None:
    """Says that a rollout moved, to the log and to whoever listens outside."""
    share = move.rollout.share if move.rollout else 0.0
    version = f"{policy}@{rollout.candidate}"
    log.info("rollout_moved", policy=policy, version=version, to=move.to, who=who, why=move.why)
    data = {"to": move.to, "who": who, "why": move.why, "version": version, "share": share}
    announce("rollout.moved", policy, data | numbers)


def numbers_of(judgement: Judgement) -> dict[str, float]:
    """The comparison in flat numbers, for the audit and for people."""
    found: dict[str, float] = {}
    for one in judgement.comparisons:
        found |= {
            f"{one.metric}_difference": one.difference,
            f"{one.metric}_radius": one.radius,
            f"{one.metric}_rewards": float(one.size),
        }
    return found
