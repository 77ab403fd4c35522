"""What the worker does for approvals: ends those that nobody answered in time, and tells what happened.

    due -> resolved as expired, which counts as rejected: a held decision gets its fallback
    audit after the last event that was told -> announced, counted -> its place is stored

Every process writes to the audit and only the worker reads it, so each change is told in order, and again
rather than never if the worker dies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from redis.asyncio import Redis

from service import metrics
from service.approvals import logic
from service.approvals.repository import ApprovalRepository
from service.clock import now_ms
from service.joining.joiner import Watched
from service.webhooks import Announce

_BATCH: Final = 200
_BECAME: Final = {
    "approved": "human",
    "rejected": "fallback",
    "expired": "fallback",
    "void": "void",
}
_TICK_S: Final = 0.25
"""An approval may end this much after its deadline; a person does not notice."""


class ApprovalRunner:
    """The approvals of all policies. `policies`: as they are known now."""

    def __init__(
        self,
        client: Redis,
        policies: Callable[[], Sequence[Watched]],
        announce: Announce | None = None,
    ) -> None:
        self._approvals = ApprovalRepository(client)
        self._policies = policies
        self._announce = announce

    async def step(self) -> float:
        """One turn; returns how many seconds to pause.

        Raises:
            RedisError: what was not done is done by a later step.
        """
        is_behind = False
        for policy in self._policies():
            expired = await self._expire(policy, now_ms())
            told = await self._tell(policy)
            is_behind |= _BATCH in (expired, told)
            await self._measure(policy, now_ms())
        return 0.0 if is_behind else _TICK_S

    async def _expire(self, policy: Watched, at_ms: int) -> int:
        due = await self._approvals.due(policy.keys, at_ms, _BATCH)
        for approval_id in due:
            item = await self._approvals.find(policy.keys, approval_id)
            if item is None:  # somebody deleted it: it must not stand before the others for ever
                await self._approvals.drop(policy.keys, approval_id)
                continue
            why = "nobody answered in time"
            resolution = logic.resolution(
                policy.config, item, "expired", who=logic.NOBODY, why=why, at_ms=at_ms
            )
            await self._approvals.resolve(policy.keys, item, resolution)
        return len(due)

    async def _tell(self, policy: Watched) -> int:
        entries = await self._approvals.untold(policy.keys, _BATCH)
        name = policy.keys.policy
        for entry in entries:
            if entry.state not in ("pending", "used"):
                metrics.APPROVALS.labels(name, entry.state).inc()
                if entry.event.detail.get("is_held"):
                    metrics.HELD.labels(name, _BECAME[entry.state]).inc()
            if self._announce is not None:
                event = entry.event
                data = {"policy": name, "who": event.who, "why": event.why, "at": event.at}
                self._announce(f"approval.{entry.state}", name, data | event.detail)
        if entries:
            await self._approvals.tell(policy.keys, entries[-1].entry_id)
        return len(entries)

    async def _measure(self, policy: Watched, at_ms: int) -> None:
        name = policy.keys.policy
        oldest = await self._approvals.oldest(policy.keys)
        age_s = 0.0 if oldest is None else max(0.0, (at_ms - oldest.asked.asked_ms) / 1000)
        metrics.APPROVALS_PENDING.labels(name).set(await self._approvals.pending(policy.keys))
        metrics.APPROVAL_AGE.labels(name).set(age_s)
