"""Moves the head of a policy: into a trip, and out of it.

Every change is a compare-and-set of what was seen: of two who want one, one succeeds. The log keeps the event, and
who watches the log counts it and tells others.
"""

from __future__ import annotations

from typing import Literal

import structlog

from service.clock import rfc3339
from service.policies.head import Trip, encode
from service.policies.repository import PolicyMeta, PolicyRepository
from service.policies.schemas import PolicyEvent
from service.repository import PolicyKeys

log = structlog.get_logger(__name__)
How = Literal["rule", "person"]


async def trip(
    policies: PolicyRepository, keys: PolicyKeys, meta: PolicyMeta, new: Trip, who: str
) -> bool:
    """Whether the policy is tripped by `new` now; False where its head was moved by somebody else."""
    event = PolicyEvent(
        what="trip",
        who=who,
        why=new.why,
        at=rfc3339(new.at_ms),
        detail={"signal": new.signal, "version": new.version, "trip_id": new.trip_id},
    )
    done = await policies.change_head(keys, "trip", meta.trip, encode(new), event=event)
    if done == "changed":
        log.warning("policy_tripped", policy=keys.policy, signal=new.signal, why=new.why, who=who)
    return done == "changed"


async def recover(
    policies: PolicyRepository,
    keys: PolicyKeys,
    meta: PolicyMeta,
    known: Trip,
    *,
    who: str,
    how: How,
    why: str,
    now_ms: int,
) -> bool:
    """Whether the policy decides again now; False where its head was moved by somebody else."""
    detail = {"signal": known.signal, "trip_id": known.trip_id, "how": how}
    event = PolicyEvent(what="recover", who=who, why=why, at=rfc3339(now_ms), detail=detail)
    done = await policies.change_head(keys, "trip", meta.trip, b"", event=event)
    if done == "changed":
        log.warning("policy_recovered", policy=keys.policy, signal=known.signal, why=why, who=who)
    return done == "changed"
