"""The wire contract of policies and versions."""

from __future__ import annotations

from typing import Any

import msgspec

from service.learning.schemas import LearnerStatus
from service.policies.head import Rollout, Trip
from service.policies.repository import VersionDescription


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """What PUT did. `changed`: sections that differ from before."""

    policy: str
    outcome: str
    changed: list[str]
    config_hash: str
    feature_schema: str


class PolicyView(msgspec.Struct, frozen=True, kw_only=True):
    """A policy as it stands. `serving`: the version on the server that answers. `rollout`: the candidate on its
    way, and `trip`: why the policy may not decide; null if there is none. `learner`: what the learner last said
    of itself, null before it has said anything."""

    policy: str
    config: dict[str, Any]
    config_hash: str
    feature_schema: str
    live: str | None
    previous: str | None
    serving: str | None
    is_pinned: bool
    catalog_revision: int
    catalog_actions: int
    counts: dict[str, int]
    rollout: Rollout | None
    trip: Trip | None
    learner: LearnerStatus | None


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    """One version and whether it is live."""

    model_version: str
    is_live: bool
    description: VersionDescription


class Pointed(msgspec.Struct, frozen=True, kw_only=True):
    """Where the live pointer stands now, and where it stood."""

    policy: str
    live: str
    before: str
    is_pinned: bool


class PromoteRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`pin` keeps the learner from replacing the version by itself."""

    why: str = ""
    pin: bool = False


class RollbackRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`quarantine` keeps decisions of the version that is left from being learned from."""

    why: str = ""
    quarantine: bool = False


class CatalogView(msgspec.Struct, frozen=True, kw_only=True):
    """The catalog after a change."""

    policy: str
    revision: int
    actions: int
    removed: int


class PolicyEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Who changed what and why, for the log."""

    what: str
    who: str
    why: str
    at: str
    detail: dict[str, Any] = {}
