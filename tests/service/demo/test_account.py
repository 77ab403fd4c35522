"""The account: a log that lost, repeated or changed something must not pass."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest
from nacre_client import AsyncClient

from service.archive.logic import Event, StreamId
from service.demo.account import (
    Account,
    LogCheck,
    Sent,
    account_promises,
    check_log,
    settled_account,
)
from service.feedback.ledger import Entry, encode_entry
from service.feedback.logic import RewardEvent
from service.joining.logic import JoinedEvent

CLEAN = LogCheck(0, 0, 0, 0, 0, 0)


def event(kind: str, decision_id: str, body: Any = None) -> Event:
    return Event(StreamId(1, 0), kind, decision_id, msgspec.msgpack.encode(body))


def decision(decision_id: str) -> Event:
    return event("decision", decision_id)


def reward(decision_id: str, value: float, kind: str = "reward") -> Event:
    entry = encode_entry(Entry(value, 0.0, "", {}))
    return event(kind, decision_id, RewardEvent("label", "add", entry, True, 1, ""))


def joined(decision_id: str, value: float | None) -> Event:
    return event("joined", decision_id, JoinedEvent("rewarded", value, 0.0, 1))


LOG = [
    decision("a"),
    decision("b"),
    reward("a", 1.0),
    joined("a", 1.0),
    joined("b", 0.0),
    reward("b", 1.0, "late_reward"),
]


@pytest.fixture
def sent() -> Sent:
    return Sent({"a", "b"}, {("a", "label"): 1.0, ("b", "label"): 1.0})


def test_a_whole_log_passes(sent: Sent) -> None:
    assert check_log(LOG, sent, pending=0) == CLEAN


def test_a_decision_that_is_not_in_the_log_is_lost(sent: Sent) -> None:
    check = check_log(LOG[1:], sent, pending=0)

    assert check.decisions_missing == check.events_lost == 1


def test_a_reward_that_is_not_in_the_log_is_lost(sent: Sent) -> None:
    check = check_log([one for one in LOG if one.type != "reward"], sent, pending=0)

    assert check.rewards_missing == check.events_lost == 1


def test_a_decision_without_an_end_is_lost_unless_it_is_pending(sent: Sent) -> None:
    endless = [one for one in LOG if one.decision_id != "b" or one.type != "joined"]

    assert check_log(endless, sent, pending=0).unfinished == 1
    assert check_log(endless, sent, pending=1) == CLEAN


def test_a_reward_that_is_logged_twice_counts_twice(sent: Sent) -> None:
    check = check_log([*LOG, reward("a", 1.0)], sent, pending=0)

    assert check.rewards_repeated == check.duplicates_counted_twice == 1


def test_a_decision_that_is_logged_twice_counts_twice(sent: Sent) -> None:
    check = check_log([*LOG, decision("a")], sent, pending=0)

    assert check.decisions_repeated == check.duplicates_counted_twice == 1


def test_a_reward_that_is_joined_as_another_number_is_miscounted(sent: Sent) -> None:
    # One reward of 1 that was added up twice.
    log = [joined("a", 2.0) if one == joined("a", 1.0) else one for one in LOG]

    assert check_log(log, sent, pending=0).miscounted == 1


def test_a_decision_whose_reward_was_never_computed_is_not_miscounted(sent: Sent) -> None:
    # As the last step of an episode that nobody saw end.
    log = [joined("a", None) if one == joined("a", 1.0) else one for one in LOG]

    assert check_log(log, sent, pending=0) == CLEAN


def test_an_account_adds_up_over_all_outcomes() -> None:
    counts = {"decisions": 6, "rewarded": 3, "defaulted": 1, "no_successor": 1, "pending": 1}

    assert Account(counts).adds_up
    assert not Account(counts | {"pending": 2}).adds_up
    assert str(Account(counts)) == (
        "6 decisions = 3 rewarded + 1 defaulted + 1 no_successor + 1 pending"
    )


def test_a_promise_is_broken_when_the_service_counts_less_than_it_acknowledged(sent: Sent) -> None:
    kept = account_promises(Account({"decisions": 2, "rewarded": 2}), CLEAN, sent)
    broken = account_promises(Account({"decisions": 1, "rewarded": 1}), CLEAN, sent)

    assert all(promise.is_kept for promise in kept)
    assert not broken[0].is_kept


async def test_the_account_is_asked_for_until_nothing_is_pending() -> None:
    pending = iter([2, 1, 0])

    def answer(request: httpx.Request) -> httpx.Response:
        counts = {"decisions": 2, "pending": next(pending)}
        return httpx.Response(200, json={"policy": "p", "config": {}, "counts": counts})

    async with AsyncClient(policy="p", transport=httpx.MockTransport(answer)) as client:
        account = await settled_account(client, patience_s=60)

    assert account.pending == 0
