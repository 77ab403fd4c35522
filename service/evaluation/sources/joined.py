"""Joins the events of a policy's log to finished decisions. No files, no Redis, no clock.

    decision, shadow    held until they are joined
    reward              held with its decision, or for a while without: a reward may come first
    seal                says how the episode of its decision ended
    joined              the decision is finished, and forgotten here
    late_reward         came after its decision was closed; does not count, as for the joiner

One pass, and the memory that it needs is bounded by what is open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import msgspec

from service.archive.logic import Event
from service.evaluation.sources.account import Account
from service.feedback.ledger import LedgerReward, ledger_reward
from service.feedback.logic import RewardEvent
from service.joining.logic import JoinedEvent
from service.policies.config import RewardRule

Kind: TypeAlias = Literal["decision", "shadow"]
_OTHER: Final[Mapping[str, str]] = {
    "decision": "made_by_this_policy",
    "shadow": "made_by_another_system",
}

_reward_event: Final = msgspec.msgpack.Decoder(RewardEvent).decode
_joined_event: Final = msgspec.msgpack.Decoder(JoinedEvent).decode
_seal: Final = msgspec.msgpack.Decoder(tuple[str, str, int]).decode
_Ledger: TypeAlias = dict[str, LedgerReward]


@dataclass(frozen=True, slots=True)
class Period:
    """Which decisions count, by when the log took them in: Unix ms, both ends included, None is open."""

    since_ms: int | None = None
    until_ms: int | None = None

    def has(self, at_ms: int) -> bool:
        is_late_enough = self.since_ms is None or at_ms >= self.since_ms
        return is_late_enough and not self.is_before(at_ms)

    def is_before(self, at_ms: int) -> bool:
        """Whether the period was over at `at_ms`."""
        return self.until_ms is not None and at_ms > self.until_ms


ALWAYS: Final = Period()


def place_of(event: Event) -> str:
    """Where an event stands, for people: parts are merged, and its id stays."""
    return f"event {event.stream_id}, decision {event.decision_id}"


@dataclass(frozen=True, slots=True)
class Finished:
    """A decision with all that came of it. `rewards`: those that count, in order of arrival. `is_torn`:
    whether some of them may be missing."""

    decision: Event
    joined: JoinedEvent
    rewards: tuple[LedgerReward, ...]
    is_terminated: bool
    is_torn: bool


@dataclass(slots=True)
class _Open:
    """A decision that is not joined yet."""

    decision: Event
    rewards: _Ledger
    is_terminated: bool = False
    is_torn: bool = False


@dataclass(slots=True)
class _Early:
    """Rewards whose decision has not come."""

    since_ms: int
    rewards: _Ledger = field(default_factory=dict)


class Joining:
    """Takes events oldest first; gives each decision of `kind` within `period` once, when it is joined.

    `rule`: values the rewards, and says how long one waits for its decision. What is left out is told to
    `account`.
    """

    def __init__(self, kind: Kind, period: Period, rule: RewardRule, account: Account) -> None:
        self._kind = kind
        self._period = period
        self._rule = rule
        self._account = account
        self._open: dict[str, _Open] = {}
        self._ignored: set[str] = set()
        self._early: dict[str, _Early] = {}

    @property
    def waiting(self) -> int:
        """How many decisions are not joined yet."""
        return len(self._open)

    def is_over(self, event: Event) -> bool:
        """Whether nothing from `event` on can matter."""
        return self._period.is_before(event.at_ms) and not self._open

    def tear(self) -> None:
        """Some events are missing here: of what is open, nobody knows any more."""
        for held in self._open.values():
            held.is_torn = True

    def after(self, event: Event) -> Finished | None:
        """The decision that `event` finishes, if it does.

        Raises:
            msgspec.MsgspecError: the event cannot be read.
        """
        self._forget_early(event.at_ms)
        match event.type:
            case "decision" | "shadow":
                self._hold(event)
            case "reward":
                self._reward(event)
            case "seal":
                self._end(event)
            case "joined":
                return self._finish(event)
            case "transition":
                self._account.skip("logged_transition")
        return None

    def _hold(self, event: Event) -> None:
        early = self._early.pop(event.decision_id, None)
        is_wanted = self._period.has(event.at_ms)
        if is_wanted and event.type == self._kind:
            self._open[event.decision_id] = _Open(event, early.rewards if early else {})
            return
        self._ignored.add(event.decision_id)
        if is_wanted:
            self._account.skip(_OTHER[event.type])

    def _reward(self, event: Event) -> None:
        if event.decision_id in self._ignored:
            return
        reward = _reward_event(event.body)
        held: _Open | _Early | None = self._open.get(event.decision_id)
        if held is None:
            held = self._early.setdefault(event.decision_id, _Early(event.at_ms))
        _count(held.rewards, reward, self._rule)

    def _end(self, event: Event) -> None:
        held = self._open.get(event.decision_id)
        if held is not None:
            held.is_terminated = _seal(event.body)[1] == "terminated"

    def _finish(self, event: Event) -> Finished | None:
        held = self._open.pop(event.decision_id, None)
        if held is None:
            self._early.pop(event.decision_id, None)
            if event.decision_id not in self._ignored:
                self._account.skip("decision_not_in_the_log")
            self._ignored.discard(event.decision_id)
            return None
        rewards = tuple(held.rewards.values())
        joined = _joined_event(event.body)
        return Finished(held.decision, joined, rewards, held.is_terminated, held.is_torn)

    def _forget_early(self, now_ms: int) -> None:
        """Forgets rewards as Redis does, which keeps them for twice their time at most."""
        since_ms = now_ms - int(self._rule.early_s * 2000)
        # The oldest comes first: a dict keeps the order of insertion.
        while self._early and self._early[oldest := next(iter(self._early))].since_ms < since_ms:
            del self._early[oldest]


def _count(rewards: _Ledger, event: RewardEvent, rule: RewardRule) -> None:
    """What `reward.lua` did with a reward that it accepted. The log has them in order of arrival, and one that is
    amended keeps its place."""
    before = rewards.get(event.reward_id)
    if event.op == "retract":
        rewards.pop(event.reward_id, None)
        return
    arrived_ms = event.received_ms if before is None else before.arrived_ms
    rewards[event.reward_id] = ledger_reward(event.reward_id, event.entry, arrived_ms, rule)
