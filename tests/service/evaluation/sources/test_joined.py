"""Events become finished decisions: each once, with the rewards that count, in bounded memory."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from service.archive.logic import Event, StreamId
from service.evaluation.sources.account import Account
from service.evaluation.sources.joined import ALWAYS, Finished, Joining, Kind, Period
from service.evaluation.sources.rewards import components_of, reward_under, rule_under
from service.feedback.ledger import Entry, LedgerReward, encode_entry
from service.feedback.logic import RewardEvent
from service.joining.logic import JoinedEvent
from service.policies.config import RewardRule

_pack = msgspec.msgpack.encode
RULE = RewardRule(components={"click": 1.0, "dwell_s": 0.5}, early_s=10)


def decision(at: int, name: str, kind: str = "decision") -> Event:
    return Event(StreamId(at, 0), kind, name, b"record")


def reward(at: int, name: str, reward_id: str, value: float, op: str = "add") -> Event:
    entry = encode_entry(Entry(value, 0.0, "", {}))
    body = _pack(RewardEvent(reward_id, op, entry, False, at, ""))
    return Event(StreamId(at, 1), "reward", name, body)


def joined(at: int, name: str, outcome: Any = "rewarded", value: float | None = 1.0) -> Event:
    return Event(StreamId(at, 2), "joined", name, _pack(JoinedEvent(outcome, value, 0.0, 1)))


def seal(at: int, name: str, status: str) -> Event:
    return Event(StreamId(at, 3), "seal", name, _pack(["e", status, at]))


def joining(
    kind: Kind = "decision", period: Period = ALWAYS, account: Account | None = None
) -> Joining:
    return Joining(kind, period, RULE, account or Account())


def run(joining: Joining, *events: Event) -> list[Finished]:
    found = [joining.after(event) for event in events]
    return [one for one in found if one is not None]


def values(finished: Finished) -> dict[str, float]:
    return {one.reward_id: one.value for one in finished.rewards}


def test_a_decision_is_finished_when_it_is_joined_and_not_before() -> None:
    open_ones = joining()

    before = run(open_ones, decision(1, "d"), reward(2, "d", "r", 5.0))
    waiting = open_ones.waiting
    [finished] = run(open_ones, joined(3, "d"))

    assert (before, waiting, open_ones.waiting) == ([], 1, 0)
    assert finished.decision.decision_id == "d"
    assert values(finished) == {"r": 5.0}


def test_rewards_keep_the_order_in_which_they_first_came() -> None:
    """a came first, and is amended last: it is still the first."""
    [finished] = run(
        joining(),
        decision(1, "d"),
        reward(2, "d", "a", 1.0),
        reward(3, "d", "b", 2.0),
        reward(4, "d", "a", 9.0, op="amend"),
        joined(5, "d"),
    )

    assert list(values(finished).items()) == [("a", 9.0), ("b", 2.0)]


def test_a_reward_may_come_before_its_decision_but_not_long_before() -> None:
    """Redis keeps it for 2 * 10 s at most."""
    [finished, late] = run(
        joining(),
        reward(0, "late", "r", 1.0),
        reward(15_000, "d", "r", 2.0),
        decision(15_001, "d"),
        decision(20_001, "late"),
        joined(20_002, "d"),
        joined(20_003, "late"),
    )

    assert values(finished) == {"r": 2.0}
    assert values(late) == {}


@pytest.mark.parametrize(("status", "is_terminated"), [("terminated", True), ("truncated", False)])
def test_a_seal_says_how_the_episode_of_its_last_decision_ended(
    status: str, is_terminated: bool
) -> None:
    [finished] = run(joining(), decision(1, "d"), seal(2, "d", status), joined(3, "d"))

    assert finished.is_terminated is is_terminated


def test_of_decisions_outside_of_the_period_nothing_is_said() -> None:
    account = Account()
    open_ones = joining(period=Period(2, 3), account=account)
    events = [
        *(decision(at, f"d{at}") for at in (1, 2, 3, 4)),
        reward(4, "d1", "r", 1.0),
        *(joined(5, f"d{at}") for at in (1, 2, 3, 4)),
    ]

    found = [one.decision.decision_id for one in run(open_ones, *events)]

    assert found == ["d2", "d3"]
    assert account.skipped == {}


def test_reading_ends_once_the_period_is_over_and_nothing_is_open() -> None:
    open_ones = joining(period=Period(None, 1))
    after = reward(5, "x", "r", 1.0)

    run(open_ones, decision(1, "d"))
    before = open_ones.is_over(after)
    run(open_ones, joined(2, "d"))

    assert (before, open_ones.is_over(after)) == (False, True)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("decision", "made_by_another_system"), ("shadow", "made_by_this_policy")],
)
def test_the_other_kind_of_decision_is_counted_and_left_out(kind: Kind, reason: str) -> None:
    account = Account()
    open_ones = joining(kind, account=account)

    found = run(
        open_ones,
        decision(1, "own"),
        decision(1, "theirs", "shadow"),
        joined(2, "own"),
        joined(2, "theirs"),
    )

    assert [one.decision.type for one in found] == [kind]
    assert account.skipped == {reason: 1}


def test_what_was_open_while_events_were_lost_is_marked() -> None:
    open_ones = joining()

    run(open_ones, decision(1, "d1"))
    open_ones.tear()
    found = run(open_ones, decision(2, "d2"), joined(3, "d1"), joined(3, "d2"))

    assert [one.is_torn for one in found] == [True, False]


# -- totals ---------------------------------------------------------------------------------------


def of(components: dict[str, float], rule: RewardRule, at: int = 0) -> LedgerReward:
    value = sum(rule.components.get(name, 0.0) * amount for name, amount in components.items())
    return LedgerReward(f"r{at}", value, 0.0, "", components, at)


@pytest.mark.parametrize(
    ("aggregation", "components"),
    [
        ("sum", {"click": 3.0, "dwell_s": 10.0}),
        ("mean", {"click": 1.5, "dwell_s": 10.0}),
        ("first", {"click": 1.0, "dwell_s": 10.0}),
        ("last", {"click": 2.0, "dwell_s": 10.0}),
        ("max", {"click": 2.0, "dwell_s": 10.0}),
        ("min", {"click": 1.0, "dwell_s": 10.0}),
    ],
)
def test_each_component_is_aggregated_like_the_total(
    aggregation: Any, components: dict[str, float]
) -> None:
    """Two rewards, 1 click and 10 s, then 2 clicks."""
    rule = RULE.model_copy(update={"aggregation": aggregation})

    found = components_of([of({"click": 1, "dwell_s": 10}, rule), of({"click": 2}, rule, 1)], rule)

    assert found == components


def finished(rewards: list[LedgerReward], outcome: Any = "rewarded", **about: Any) -> Finished:
    closed = JoinedEvent(outcome, 7.0, 0.0, 1)
    return Finished(decision(1, "d"), closed, tuple(rewards), False, about.get("is_torn", False))


def test_weights_replace_those_of_the_policy() -> None:
    """Clicks count nothing: 2 * 10 = 20 from the first reward, and 0 from the second."""
    rule = rule_under(RULE, {"click": 0.0, "dwell_s": 2.0})

    total = reward_under(
        finished([of({"click": 1, "dwell_s": 10}, rule), of({"click": 2}, rule, 1)]), rule
    )

    assert total == 20.0
    assert RULE.components == {"click": 1.0, "dwell_s": 0.5}


def test_a_decision_of_which_no_reward_has_a_weight_gets_the_default() -> None:
    """A guard says nothing of the total, unless it is given a weight: -2 * 3 = -6."""
    declared = RULE.model_copy(update={"guards": ["complaints"], "default": -1.0})
    weights = {"click": 1.0, "dwell_s": 2.0}
    rule, angry = rule_under(declared, weights), rule_under(declared, weights | {"complaints": -2})

    assert reward_under(finished([of({"complaints": 3}, rule)]), rule) == -1.0
    assert reward_under(finished([of({"complaints": 3}, angry)]), angry) == -6.0
    assert reward_under(finished([], "defaulted"), rule) == -1.0


@pytest.mark.parametrize("about", [{"is_torn": True}, {}])
def test_a_total_is_not_made_up_from_a_part_of_the_rewards(about: dict[str, bool]) -> None:
    with pytest.raises(ValueError, match="missing in the log"):
        reward_under(finished([], **about), RULE)
