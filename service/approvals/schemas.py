"""The wire contract of /approvals, and what Redis keeps of an approval."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from service.decisions.repository import NewDecision
from service.decisions.schemas import Strict
from service.policies.schemas import PolicyEvent

Kind = Literal["decision", "promotion"]
State = Literal["pending", "approved", "rejected", "expired", "void"]
"""`expired`: nobody answered in time, which counts as rejected. `void`: it could not be carried out any more."""


class Verdict(Strict, frozen=True):
    """What a person says to an approval, with the reason for it."""

    why: Annotated[str, Meta(min_length=1, max_length=2000)]


class Held(Struct, frozen=True, kw_only=True):
    """The answer of /act for a decision that waits for a person, until `deadline`."""

    decision_id: str
    policy: str
    state: Literal["held"] = "held"
    approval_id: str
    deadline: str


class Approval(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that a person is asked about.

    `causes`: places in the policy's rule that ask for a person. `is_held`: whether the caller of /act waits for
    it; without that the fallback has answered already. `proposed`, `otherwise`: the answers of which one is or
    was given. `response`: the answer that was recorded, once there is one. `model_version`, `sha256`: what a
    promotion would make live, and the exact snapshot that is approved. `reason`, `evidence`: why it is asked for, and what
    speaks for it.
    `by`, `why`: who answered and the reason. `used_at`: when an approved promotion was carried out.
    A list leaves out what only one can be asked for: `request`, `proposed`, `otherwise`, `response`.
    """

    approval_id: str
    policy: str
    kind: Kind
    state: State
    requester: str
    asked_at: str
    deadline: str
    causes: tuple[str, ...] = ()
    decision_id: str | None = None
    is_held: bool = False
    request: msgspec.Raw | None = None
    proposed: msgspec.Raw | None = None
    otherwise: msgspec.Raw | None = None
    response: msgspec.Raw | None = None
    model_version: str | None = None
    sha256: str | None = None
    reason: str | None = None
    evidence: dict[str, Any] = {}
    by: str | None = None
    why: str | None = None
    decided_at: str | None = None
    used_at: str | None = None


class ApprovalList(Struct, frozen=True):
    """`pending`: how many wait, in all of the policies that were asked about."""

    approvals: list[Approval]
    pending: int


class Asked(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is asked, as Redis keeps it; it never changes. Times are Unix milliseconds.

    `version`: of a promotion. `reason`: why whoever asks wants it.
    """

    kind: Kind
    requester: str
    asked_ms: int
    due_ms: int
    causes: tuple[str, ...] = ()
    decision_id: str = ""
    is_held: bool = False
    version: int = 0
    reason: str = ""
    evidence: dict[str, Any] = {}


class NewApproval(Struct, frozen=True, kw_only=True):
    """A decision that needs a person: what is asked, and the two decisions of which one will be recorded.

    `event`: tells that it is asked. `most_pending`: how many may wait at once.
    """

    approval_id: str
    asked: Asked
    proposed: NewDecision
    otherwise: NewDecision
    event: PolicyEvent
    most_pending: int


class Item(Struct, frozen=True, kw_only=True):
    """One approval as Redis holds it. The two decisions are there for one of kind `decision`, where they were
    asked for. `closing`: how it ended, by whom and why. `used_ms`: when an approved promotion was carried out."""

    approval_id: str
    asked: Asked
    state: State
    sha256: str = ""
    closing: PolicyEvent | None = None
    used_ms: int | None = None
    proposed: NewDecision | None = None
    otherwise: NewDecision | None = None
