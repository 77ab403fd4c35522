"""What the head of a policy says besides its live version: who else decides, and whether it may decide.

Servers read both with the live pointer, in one reply, so that every replica turns over within one look.
`service.rollout` and `service.trips` write them.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import Struct

Stage = Literal["candidate", "shadow", "canary", "waiting"]
"""Of a candidate that is on its way. `waiting`: a canary that only a person may move."""


class Rollout(Struct, frozen=True, kw_only=True):
    """A candidate on its way to all traffic. It is gone from the head once it is live or retired.

    `rollout_id`: also the salt of the assignment, so that each rollout draws its own subjects. `step`: of the
    declared canary steps, from 0. `share`: of the subjects, in [0, 1], that the candidate decides for now.
    `since_ms`: when this stage or step began. `evaluation`: the job that the gate waits for, or empty.
    `approval`: the approval that the next stage waits for, or empty.
    """

    rollout_id: str
    candidate: int
    stage: Stage
    started_ms: int
    since_ms: int
    step: int = 0
    share: float = 0.0
    evaluation: str = ""
    approval: str = ""


class Trip(Struct, frozen=True, kw_only=True):
    """A policy that may not decide, and what does in its place.

    `signal`: what tripped it, such as `reward` or `constraint`; every decision's reason names it.
    `version`: decides instead; 0 for the policy's declared fallback. `recover_ms`: when it may decide again by
    itself; 0 for never.
    """

    trip_id: str
    signal: str
    why: str
    at_ms: int
    version: int = 0
    recover_ms: int = 0


Field = Literal["rollout", "trip"]

encode: Final = msgspec.json.Encoder().encode
_rollout: Final = msgspec.json.Decoder(Rollout).decode
_trip: Final = msgspec.json.Decoder(Trip).decode


def read_rollout(body: bytes) -> Rollout | None:
    """The rollout under way; None for an empty field."""
    return _rollout(body) if body else None


def read_trip(body: bytes) -> Trip | None:
    """The trip in force; None for an empty field."""
    return _trip(body) if body else None
