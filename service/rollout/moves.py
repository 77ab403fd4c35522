"""Writes the moves of rollouts: the head, the audit and the log, in one step, if the head is still what was seen."""

from __future__ import annotations

from typing import Final, Literal

import msgspec
import structlog

from service.clock import rfc3339
from service.decisions.ids import new_id
from service.errors import InvalidError, ServiceError
from service.policies import head
from service.policies.config import PolicyConfig
from service.policies.head import Rollout
from service.policies.repository import PolicyMeta, PolicyRepository, VersionDescription
from service.policies.schemas import PolicyEvent
from service.repository import PolicyKeys
from service.rollout import logic
from service.rollout.logic import Moved
from service.rollout.sums import RolloutNote

log = structlog.get_logger(__name__)

ITSELF: Final = "rollout"
"""Who moves what no person moves."""


class Mover:
    """Of one policy, as one look saw it. `who`: in whose name, and when."""

    def __init__(
        self, policies: PolicyRepository, keys: PolicyKeys, meta: PolicyMeta, who: str, at_ms: int
    ) -> None:
        self._policies = policies
        self._keys = keys
        self._meta = meta
        self._who = who
        self._at_ms = at_ms

    async def start(self, rollout: Rollout, why: str) -> bool:
        """Begins a rollout; False where another one is under way."""
        to = "canary" if rollout.stage == "canary" else "candidate"
        return await self._write(rollout, _note(rollout, to), why) == "changed"

    async def move(
        self,
        before: Rollout,
        move: Moved,
        *,
        numbers: dict[str, float] | None = None,
        quarantine: bool = False,
    ) -> bool:
        """Carries a move out; False where somebody else was faster, or the version that was to go live is gone."""
        note = _note(move.rollout or before, move.to, numbers=numbers or {})
        reply = await self._write(
            move.rollout,
            note,
            move.why,
            live=before.candidate if move.to == "live" else None,
            quarantine=before.candidate if quarantine else None,
        )
        return reply == "changed"

    async def note(
        self,
        before: Rollout,
        what: Literal["evaluation", "approval"],
        asked_id: str,
        *,
        why: str,
        rewards: int,
    ) -> bool:
        """Keeps what was asked for; False as for `move`. `rewards`: in the log by now."""
        after = logic.noted(before, what, asked_id)
        note = _note(after, after.stage, asked=what, rewards=rewards)
        return await self._write(after, note, why) == "changed"

    async def _write(
        self,
        after: Rollout | None,
        note: RolloutNote,
        why: str,
        *,
        live: int | None = None,
        quarantine: int | None = None,
    ) -> str:
        event = PolicyEvent(
            what="rollout",
            who=self._who,
            why=why,
            at=rfc3339(self._at_ms),
            detail=msgspec.to_builtins(note),
        )
        body = head.encode(after) if after else b""
        return await self._policies.change_head(
            self._keys,
            "rollout",
            self._meta.rollout,
            body,
            event=event,
            live=live,
            quarantine=quarantine,
        )


async def start(
    policies: PolicyRepository,
    keys: PolicyKeys,
    config: PolicyConfig,
    version: int,
    *,
    at: Literal["gate", "canary"],
    who: str,
    why: str,
    at_ms: int,
) -> None:
    """Sends a version on its way.

    Raises:
        InvalidError, ServiceError: it may not set out, see `check_start`.
    """
    meta = await policies.meta(keys)
    if meta is None:
        raise ServiceError("NotFound", "there is no such policy")
    description = await policies.version(keys, version)
    check_start(meta, config, description, await policies.quarantined(keys), at=at)
    rollout = logic.begin(version, new_id(), config.rollout, at_ms, at=at)
    if not await Mover(policies, keys, meta, who, at_ms).start(rollout, why):
        raise ServiceError("RolloutRunning", "somebody else started one at the same time")
    log.info("rollout_started", policy=keys.policy, version=version, at=at, who=who, why=why)


def _note(
    rollout: Rollout,
    to: str,
    *,
    asked: Literal["", "evaluation", "approval"] = "",
    rewards: int = 0,
    numbers: dict[str, float] | None = None,
) -> RolloutNote:
    return RolloutNote(
        to=to,
        rollout_id=rollout.rollout_id,
        candidate=rollout.candidate,
        step=rollout.step,
        share=rollout.share,
        since_ms=rollout.since_ms,
        asked=asked,
        rewards=rewards,
        numbers=numbers or {},
    )


def check_start(
    meta: PolicyMeta,
    config: PolicyConfig,
    description: VersionDescription | None,
    quarantined: frozenset[int],
    *,
    at: Literal["gate", "canary"],
) -> None:
    """Whether a version may set out.

    Raises:
        InvalidError: it is live already, is of another model, or the policy declares no canary.
        ServiceError: NotFound, RolloutRunning or PolicyChange.
    """
    if description is None:
        raise ServiceError("NotFound", "there is no such version")
    if meta.rollout:
        running = head.read_rollout(meta.rollout)
        assert running is not None
        detail = (
            f"version {running.candidate} is on its way; abort that rollout or wait for its end"
        )
        raise ServiceError("RolloutRunning", detail)
    if meta.is_pinned:
        detail = f"the policy is pinned to version {meta.live}; promote a version to unpin it first"
        raise ServiceError("PolicyChange", detail)
    if description.version in quarantined:
        detail = "the version is quarantined, because a rollback said so; choose another one"
        raise ServiceError("PolicyChange", detail)
    _check_version(meta, config, description)
    if at == "canary":
        _check_canary(meta, config)


def _check_version(meta: PolicyMeta, config: PolicyConfig, description: VersionDescription) -> None:
    if description.version == meta.live:
        detail = f"version {meta.live} is live already; name another one"
        raise InvalidError("/version", detail, field_code="live")
    is_of_another = description.lineage not in (0, meta.lineage)
    if is_of_another or description.feature_schema != config.agent.feature_schema:
        detail = (
            f"version {description.version} is of a model that the policy had before it was started "
            "anew; choose a version of the present one"
        )
        raise InvalidError("/version", detail, field_code="another_model")


def _check_canary(meta: PolicyMeta, config: PolicyConfig) -> None:
    if not config.rollout.steps:
        detail = "the policy declares no canary steps; add `rollout.steps`, or begin at the gate"
        raise InvalidError("/rollout/steps", detail, field_code="missing")
    if meta.trip:
        raise ServiceError("PolicyChange", "the policy is tripped; let it recover first")
