"""Does the account add up? The service's counters, and its whole archived log, against what was sent."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from nacre_client import AsyncClient

from service.archive.logic import Event
from service.archive.parts import read_archive
from service.demo.report import Promise
from service.feedback.ledger import decode_entry
from service.feedback.logic import RewardEvent
from service.joining.logic import JoinedEvent

_OUTCOMES: Final = (
    "rewarded",
    "defaulted",
    "not_activated",
    "not_learned",
    "quarantined",
    "no_successor",
    "unreadable",
)
_POLL_S: Final = 0.1
_ARCHIVE_POLL_S: Final = 1.0
_ARCHIVE_PATIENCE_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Account:
    """The service's own counters for one policy."""

    counts: Mapping[str, int]

    @property
    def decisions(self) -> int:
        return self.counts.get("decisions", 0)

    @property
    def pending(self) -> int:
        return self.counts.get("pending", 0)

    @property
    def outcomes(self) -> dict[str, int]:
        """How many decisions ended how; only the two usual ones are named when they are 0."""
        found = {name: self.counts.get(name, 0) for name in _OUTCOMES}
        return {n: c for n, c in found.items() if c or n in ("rewarded", "defaulted")}

    @property
    def adds_up(self) -> bool:
        return self.decisions == sum(self.outcomes.values()) + self.pending

    def __str__(self) -> str:
        parts = [f"{count:,} {name}" for name, count in self.outcomes.items()]
        sign = "=" if self.adds_up else "is not"
        return f"{self.decisions:,} decisions {sign} {' + '.join(parts)} + {self.pending:,} pending"


async def settled_account(client: AsyncClient, patience_s: float) -> Account:
    """The account once nothing is pending any more, or after `patience_s`."""
    deadline = time.monotonic() + patience_s
    while True:
        account = Account((await client.get_policy()).counts)
        if account.pending == 0 or time.monotonic() > deadline:
            return account
        await asyncio.sleep(_POLL_S)


# -- the log ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Sent:
    """What the service has acknowledged. Rewards are keyed by (decision id, reward id)."""

    decisions: set[str] = field(default_factory=set)
    rewards: dict[tuple[str, str], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogCheck:
    """The archived log against what was acknowledged. Every field should be 0.

    `miscounted`: decisions that were learned from with another reward than the one that was sent.
    """

    decisions_missing: int
    rewards_missing: int
    unfinished: int
    decisions_repeated: int
    rewards_repeated: int
    miscounted: int

    @property
    def events_lost(self) -> int:
        return self.decisions_missing + self.rewards_missing + self.unfinished

    @property
    def duplicates_counted_twice(self) -> int:
        return self.decisions_repeated + self.rewards_repeated + self.miscounted


_reward_event = msgspec.msgpack.Decoder(RewardEvent).decode
_joined_event = msgspec.msgpack.Decoder(JoinedEvent).decode


def check_log(events: Iterable[Event], sent: Sent, pending: int) -> LogCheck:
    """Compares the log with what was acknowledged; `pending` decisions may lack an end."""
    decisions, rewards, ends = Counter[str](), Counter[tuple[str, str]](), dict[str, float | None]()
    counted: dict[str, float] = {}
    for event in events:
        if event.type in ("decision", "shadow"):
            decisions[event.decision_id] += 1
        elif event.type in ("reward", "late_reward"):
            told = _reward_event(event.body)
            rewards[event.decision_id, told.reward_id] += 1
            value = decode_entry(told.entry).value
            if event.type == "reward" and value is not None:
                counted[event.decision_id] = value
        elif event.type == "joined":
            ends[event.decision_id] = _joined_event(event.body).reward
    return LogCheck(
        decisions_missing=len(sent.decisions - decisions.keys()),
        rewards_missing=len(sent.rewards.keys() - rewards.keys()),
        unfinished=max(0, len(sent.decisions - ends.keys()) - pending),
        decisions_repeated=_repeated(decisions),
        rewards_repeated=_repeated(rewards),
        miscounted=_miscounted(counted, ends, sent),
    )


def _repeated(seen: Counter[Any]) -> int:
    return sum(count - 1 for count in seen.values())


def _miscounted(counted: Mapping[str, float], ends: Mapping[str, float | None], sent: Sent) -> int:
    """Decisions whose one reward was sent, logged and joined, but not as the same number each time."""
    told = {decision_id: value for (decision_id, _), value in sent.rewards.items()}
    wrong = 0
    for decision_id, value in counted.items():
        # None: the decision ended without a reward being computed, so none was counted at all.
        joined = ends.get(decision_id)
        if value != told.get(decision_id, value) or (joined is not None and joined != value):
            wrong += 1
    return wrong


async def check_archive(folder: Path, sent: Sent, pending: int) -> LogCheck:
    """Checks the archived log, again until nothing is missing; what is missing in the end is lost."""
    deadline = time.monotonic() + _ARCHIVE_PATIENCE_S
    while True:
        check = check_log(read_archive(folder), sent, pending)
        if check.events_lost == 0 or time.monotonic() > deadline:
            return check
        await asyncio.sleep(_ARCHIVE_POLL_S)


def account_rows(account: Account, check: LogCheck) -> Sequence[tuple[str, str]]:
    """The account as rows of the table."""
    return (
        ("account", str(account)),
        (
            "events lost",
            f"{check.events_lost} (every acknowledged id looked up in the archived log)",
        ),
        ("duplicates counted twice", str(check.duplicates_counted_twice)),
    )


def account_promises(account: Account, check: LogCheck, sent: Sent) -> list[Promise]:
    """What every demo promises."""
    is_whole = account.adds_up and account.pending == 0 and account.decisions == len(sent.decisions)
    return [
        Promise("the account adds up, and nothing is pending", is_whole),
        Promise("no acknowledged event is lost", check.events_lost == 0),
        Promise("no duplicate counts twice", check.duplicates_counted_twice == 0),
    ]


def account_details(account: Account) -> dict[str, Any]:
    """The account for the JSON file; `counts` are all counters of the service as they are."""
    summary = {"decisions": account.decisions, **account.outcomes, "pending": account.pending}
    return {
        "account": {**summary, "adds_up": account.adds_up},
        "counts": dict(account.counts),
    }
