"""Events as the log of a policy holds them, made up by the test: decisions of two actions, and their outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from service.archive.logic import StreamId
from service.decisions.records import RECORD_FORMAT, DecisionRecord, encode_record
from service.feedback.ledger import Entry, encode_entry
from service.feedback.logic import RewardEvent
from service.following.observer import LogEvent
from service.joining.logic import JoinedEvent

START_MS: Final = 4_000_000_000_000
"""In the year 2096: events that Redis itself dates come after none of these, and so go on from the last."""
_json = msgspec.json.encode
_pack = msgspec.msgpack.encode


def outcome(at_ms: int, reward: float | None, **changes: Any) -> LogEvent:
    """A decision of the live arm that was made a second before it was joined."""
    fields: dict[str, Any] = {
        "outcome": "rewarded",
        "reward": reward,
        "cost": 0.0,
        "model_version": 1,
        "arm": "live",
        "made_ms": at_ms - 1_000,
        "delay_ms": 500,
    }
    return _event(at_ms, "joined", _pack(JoinedEvent(**(fields | changes))))


def outcomes(
    rewards: Sequence[float], begin_ms: int = START_MS, every_ms: int = 10, **changes: Any
) -> list[LogEvent]:
    """One for each reward."""
    return [outcome(begin_ms + every_ms * at, r, **changes) for at, r in enumerate(rewards)]


def reward(at_ms: int, decision_id: str, op: str = "add", **changes: Any) -> LogEvent:
    """A reward as it arrives."""
    fields: dict[str, Any] = {"value": 0.0, "cost": 0.0, "type": "", "components": {}}
    entry = encode_entry(Entry(**(fields | changes)))
    event = RewardEvent(f"r-{decision_id}", op, entry, False, at_ms, "")
    return _event(at_ms, "reward", _pack(event), decision_id)


def decision(
    at_ms: int,
    observation: Sequence[float],
    *,
    config_hash: str = "c:0",
    arm: str = "live",
    probabilities: Mapping[str, float] | None = None,
    taken: str = "a",
    reason: str = "policy",
    fallback: str | None = None,
    took_us: int = 2_000,
    decision_id: str = "",
) -> LogEvent:
    """One decision. `probabilities`: by action, half and half by default."""
    shares = {"a": 0.5, "b": 0.5} if probabilities is None else probabilities
    known = decision_id or f"d{at_ms}"
    request = {"observation": {"vector": list(observation)}, "actions": list(shares)}
    response = {
        "decision_id": known,
        "policy": "home",
        "model_version": "home@1",
        "config_hash": config_hash,
        "feature_schema": "f:0",
        "action": {"id": taken, "index": list(shares).index(taken)},
        "propensity": shares[taken],
        "ranking": [{"id": i, "probability": p, "score": None} for i, p in shares.items()],
        "reason": reason,
        "reasons_detail": {"explored": False} | ({"fallback": fallback} if fallback else {}),
        "assignment": {"arm": arm, "arm_probability": 1.0, "arm_propensity": None},
        "mode": "online",
        "activated": True,
        "reward_deadline": "",
    }
    record = DecisionRecord(
        RECORD_FORMAT, known, "decision", at_ms, at_ms + 60_000, "json", 0, _json(request),
        _json(response), b"", None, took_us,
    )  # fmt: skip
    return _event(at_ms, "decision", encode_record(record), known)


def decisions(
    states: np.ndarray[Any, Any],
    random: np.random.Generator,
    begin_ms: int = START_MS,
    every_ms: int = 100,
    **changes: Any,
) -> list[LogEvent]:
    """One for each row of `states`, its action drawn from the logged probabilities."""
    shares = changes.get("probabilities") or {"a": 0.5, "b": 0.5}
    drawn = random.choice(list(shares), size=len(states), p=list(shares.values()))
    return [
        decision(begin_ms + every_ms * at, row.tolist(), taken=str(taken), **changes)
        for at, (row, taken) in enumerate(zip(states, drawn, strict=True))
    ]


def _event(at_ms: int, kind: str, body: bytes, decision_id: str = "d") -> LogEvent:
    return LogEvent(StreamId(at_ms, 0), kind, decision_id, body)
