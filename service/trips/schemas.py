"""The wire contract of trips."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from service.decisions.schemas import Strict


class TripRequest(Strict, frozen=True):
    """Why the policy may not decide, or may again."""

    why: Annotated[str, Meta(max_length=2000)]


class TripView(Struct, frozen=True, kw_only=True):
    """The trip in force. `serves`: what decides: a version such as `shop@7`, or `fallback`. `recovers_at`: when the
    policy decides again by itself, null where that is left to its windows or to a person."""

    policy: str
    is_tripped: bool
    trip_id: str | None = None
    signal: str | None = None
    why: str | None = None
    since: str | None = None
    serves: str | None = None
    recovers_at: str | None = None
