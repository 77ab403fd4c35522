"""Whether a version may decide for anybody: asks a person, and uses the answer once.

item = await promotions.ask(keys, rule, 42, who="ana", why="lower bound is higher", evidence={...})
if item.state == "approved": await promotions.use(keys, item.approval_id, who="ana")   # then move the pointer
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from service.approvals import logic
from service.approvals.repository import ApprovalRepository
from service.approvals.rule import ApprovalRule
from service.approvals.schemas import Item
from service.approvals.snapshots import snapshot_sha256
from service.clock import now_ms
from service.errors import ServiceError
from service.repository import PolicyKeys


class Promotions:
    """`artefacts`: the folder where snapshots lie."""

    def __init__(self, client: Redis, artefacts: Path) -> None:
        self._approvals = ApprovalRepository(client)
        self._artefacts = artefacts

    async def ask(
        self,
        keys: PolicyKeys,
        rule: ApprovalRule,
        version: int,
        *,
        who: str,
        why: str,
        evidence: dict[str, Any],
    ) -> Item:
        """The question about the version as it is now: a new one, or the one that waits or was approved and not
        used. What was rejected, expired or used is asked anew.

        Raises:
            ServiceError: NotFound, its snapshot is missing.
        """
        sha256 = await self.sha256(keys, version)
        if not sha256:
            raise ServiceError("NotFound", f"version {version} has no snapshot to approve")
        approval_id, at_ms = logic.promotion_id(version, sha256), now_ms()
        asked = logic.about_promotion(
            rule, version, requester=who, why=why, evidence=evidence, at_ms=at_ms
        )
        event = logic.event_of(approval_id, asked, "pending", who, why, at_ms)
        await self._approvals.ask_promotion(keys, approval_id, asked, sha256, event)
        return await self.find(keys, approval_id)

    async def find(self, keys: PolicyKeys, approval_id: str) -> Item:
        """How the question stands.

        Raises:
            ServiceError: NotFound, it is no longer kept.
        """
        item = await self._approvals.find(keys, approval_id)
        if item is None:
            raise ServiceError("NotFound", "there is no such approval")
        return item

    async def use(self, keys: PolicyKeys, approval_id: str, *, who: str) -> None:
        """Uses an approved promotion up; only then may the version decide.

        Raises:
            ServiceError: NotFound; ApprovalVoid, the snapshot is not the one that was approved; ApprovalDecided,
                it was not approved, or was used before.
        """
        item, at_ms = await self.find(keys, approval_id), now_ms()
        word = await self._approvals.use(
            keys,
            approval_id,
            sha256=await self.sha256(keys, item.asked.version),
            at_ms=at_ms,
            event=logic.event_of(approval_id, item.asked, "used", who, "", at_ms),
            void=logic.event_of(approval_id, item.asked, "void", who, "", at_ms),
        )
        if word == "void":
            detail = (
                "the snapshot is not the one that was approved; ask for an approval of this one"
            )
            raise ServiceError("ApprovalVoid", detail)
        if word != "used":
            detail = f"it is {word.replace('_', ' ')}; ask for an approval and use it once"
            raise ServiceError("ApprovalDecided", detail)

    async def sha256(self, keys: PolicyKeys, version: int) -> str:
        """Names the snapshot as it lies there now; "" where it is missing."""
        return await asyncio.to_thread(snapshot_sha256, self._artefacts, keys.policy, version)
