"""What is asked, how it ends, and how both are told. No Redis, no HTTP, no clock."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import structs

from service.approvals.repository import Outcome, Resolution
from service.approvals.rule import ApprovalRule
from service.approvals.schemas import Approval, Asked, Held, Item, NewApproval
from service.clock import rfc3339
from service.decisions.records import DecisionRecord, act_request, decode_record, encode_record
from service.decisions.repository import NewDecision
from service.errors import ServiceError
from service.policies.config import PolicyConfig
from service.policies.schemas import PolicyEvent

NOBODY: Final = "deadline"
"""Who ends an approval that no person did."""
Verdict = Literal["approved", "rejected", "expired"]
_encode: Final = msgspec.json.Encoder().encode


# -- asking -------------------------------------------------------------------------------------


def approval_id_of(decision_id: str) -> str:
    """The id of the approval of a decision. It follows from the decision's, so a retry finds the same one."""
    return "d" + hashlib.blake2b(decision_id.encode(), digest_size=12).hexdigest()


def promotion_id(version: int, sha256: str) -> str:
    """The id of the approval of one snapshot; another snapshot of the same version is another question."""
    return f"v{version}-{sha256[:16]}"


def about_decision(
    rule: ApprovalRule,
    proposed: NewDecision,
    otherwise: NewDecision,
    *,
    requester: str,
    causes: Sequence[str],
    at_ms: int,
) -> NewApproval:
    """The question about one decision. `proposed`: recorded if a person approves, its reason is `human`.
    `otherwise`: the fallback. `requester`: the API key that asked for the decision."""
    asked = Asked(
        kind="decision",
        requester=requester,
        asked_ms=at_ms,
        due_ms=at_ms + int(rule.wait_s * 1000),
        causes=tuple(causes),
        decision_id=proposed.decision_id,
        is_held=rule.otherwise == "hold",
    )
    approval_id = approval_id_of(proposed.decision_id)
    return NewApproval(
        approval_id=approval_id,
        asked=asked,
        proposed=proposed,
        otherwise=otherwise,
        event=event_of(approval_id, asked, "pending", requester, "", at_ms),
        most_pending=rule.most_pending,
    )


def about_promotion(
    rule: ApprovalRule,
    version: int,
    *,
    requester: str,
    why: str,
    evidence: dict[str, Any],
    at_ms: int,
) -> Asked:
    """The question whether a version may decide. `evidence`: plain values that speak for it."""
    return Asked(
        kind="promotion",
        requester=requester,
        asked_ms=at_ms,
        due_ms=at_ms + int(rule.wait_s * 1000),
        version=version,
        reason=why,
        evidence=evidence,
    )


def event_of(
    approval_id: str, asked: Asked, state: str, who: str, why: str, at_ms: int
) -> PolicyEvent:
    """What the audit, the log and whoever is told keep of one change."""
    detail: dict[str, Any] = {"approval_id": approval_id, "kind": asked.kind, "state": state}
    if asked.kind == "decision":
        detail |= {"decision_id": asked.decision_id, "is_held": asked.is_held}
        detail |= {"causes": list(asked.causes)}
    else:
        detail |= {"version": asked.version, "evidence": asked.evidence}
    detail |= {"requester": asked.requester, "deadline": rfc3339(asked.due_ms)}
    return PolicyEvent(what=f"approval_{state}", who=who, why=why, at=rfc3339(at_ms), detail=detail)


def held_answer(policy: str, decision_id: str, due_ms: int) -> tuple[Held, str]:
    """The body of a 202, and the address where to wait for the person. `due_ms`: as Redis tells it, for a retry
    has the deadline of the first."""
    approval_id = approval_id_of(decision_id)
    held = Held(
        decision_id=decision_id, policy=policy, approval_id=approval_id, deadline=rfc3339(due_ms)
    )
    return held, f"/v1/approvals/{policy}/{approval_id}"


# -- ending -------------------------------------------------------------------------------------


def resolution(
    config: PolicyConfig,
    item: Item,
    verdict: Verdict,
    *,
    who: str,
    why: str,
    at_ms: int,
    sha256: str = "",
) -> Resolution:
    """How `item` is to end. `sha256`: of the snapshot as it is now, for a promotion."""
    asked, keep_ms = item.asked, int(config.retention_s * 1000)
    if verdict == "expired" and not asked.is_held:
        # Nobody looked. Under a flood these would fill Redis; so there are never many more than may wait.
        keep_ms = min(keep_ms, asked.due_ms - asked.asked_ms)
    chosen = item.proposed if verdict == "approved" else item.otherwise
    record = None
    if asked.is_held and chosen is not None:
        record = settled(chosen, int(config.reward.wait_s * 1000), at_ms)
    return Resolution(
        state=verdict,
        at_ms=at_ms,
        event=event_of(item.approval_id, asked, verdict, who, why, at_ms),
        void=event_of(item.approval_id, asked, "void", who, why, at_ms),
        keep_ms=keep_ms,
        sha256=sha256,
        record=record,
    )


def settled(held: NewDecision, wait_ms: int, at_ms: int) -> NewDecision:
    """A held decision as it is recorded when the person answered: made now, rewarded until `wait_ms` from now."""
    due_ms, record = at_ms + wait_ms, decode_record(held.record)
    response: dict[str, Any] = msgspec.json.decode(record.response)
    response["reward_deadline"] = rfc3339(due_ms)
    made = structs.replace(record, made_ms=at_ms, deadline_ms=due_ms, response=_encode(response))
    return structs.replace(held, record=encode_record(made), due_ms=due_ms, made_ms=at_ms)


def check_not_own(item: Item, who: str) -> None:
    """Refuses whoever asked for it.

    Raises:
        ServiceError: OwnRequest.
    """
    if item.asked.requester == who:
        detail = "the key asked for this itself; somebody with another key must approve it"
        raise ServiceError("OwnRequest", detail)


def check_done(outcome: Outcome) -> None:
    """Refuses what came too late.

    Raises:
        ServiceError: NotFound, ApprovalDecided, ApprovalExpired or ApprovalVoid.
    """
    match outcome:
        case Outcome("done", "void") | Outcome("closed", "void"):
            detail = "what was asked about is no longer the same, or cannot be recorded; ask anew"
            raise ServiceError("ApprovalVoid", detail)
        case Outcome("closed", "expired") | Outcome("late"):
            raise ServiceError("ApprovalExpired", "the deadline has passed, which counts as no")
        case Outcome("closed", state):
            raise ServiceError("ApprovalDecided", f"it was {state} before; see GET for by whom")
        case Outcome("unknown"):
            raise ServiceError("NotFound", "there is no such approval")


# -- telling ------------------------------------------------------------------------------------


def view(policy: str, item: Item, recorded: bytes | None = None) -> Approval:
    """An approval as it is shown. `recorded`: the record of the decision, if there is one."""
    asked, closing = item.asked, item.closing
    proposed, otherwise = (_record(one) for one in (item.proposed, item.otherwise))
    return Approval(
        approval_id=item.approval_id,
        policy=policy,
        kind=asked.kind,
        state=item.state,
        requester=asked.requester,
        asked_at=rfc3339(asked.asked_ms),
        deadline=rfc3339(asked.due_ms),
        causes=asked.causes,
        decision_id=asked.decision_id or None,
        is_held=asked.is_held,
        request=_request(proposed) if proposed else None,
        proposed=msgspec.Raw(proposed.response) if proposed else None,
        otherwise=msgspec.Raw(otherwise.response) if otherwise else None,
        response=msgspec.Raw(decode_record(recorded).response) if recorded else None,
        model_version=f"{policy}@{asked.version}" if asked.version else None,
        sha256=item.sha256 or None,
        reason=asked.reason or None,
        evidence=asked.evidence,
        by=closing.who if closing else None,
        why=closing.why if closing else None,
        decided_at=closing.at if closing else None,
        used_at=rfc3339(item.used_ms) if item.used_ms is not None else None,
    )


def _record(decision: NewDecision | None) -> DecisionRecord | None:
    return None if decision is None else decode_record(decision.record)


def _request(record: DecisionRecord) -> msgspec.Raw:
    """The request in JSON; as base64 where msgpack said what JSON cannot."""
    if record.media == "json":
        return msgspec.Raw(record.request)
    try:
        return msgspec.Raw(_encode(act_request(record)))
    except (TypeError, msgspec.MsgspecError):
        return msgspec.Raw(_encode({"msgpack": record.request}))
