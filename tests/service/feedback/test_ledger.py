"""How the rewards of a decision become one number, whatever was sent, corrected and reweighed."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from service.feedback.ledger import (
    Aggregation,
    Entry,
    LedgerReward,
    encode_entry,
    ledger_reward,
    total,
)
from service.policies.config import RewardRule, parse_policy
from tests.support.ledgers import open_world
from tests.support.policies import bandit

WEIGHTS = {"click": 1.0, "dwell_s": 0.5}


def rule(aggregation: Aggregation = "sum", **weights: float) -> RewardRule:
    return RewardRule(aggregation=aggregation, components=weights or WEIGHTS, guards=["complaints"])


def sent(*parts: dict[str, float] | float, by: RewardRule | None = None) -> list[LedgerReward]:
    """Rewards in order of arrival; a number is a plain one."""
    entries = [
        Entry(None, 0.0, "", one) if isinstance(one, dict) else Entry(one, 0.0, "", {})
        for one in parts
    ]
    return [
        ledger_reward(f"r{at}", encode_entry(one), at, by or rule())
        for at, one in enumerate(entries)
    ]


def test_parts_are_weighed_when_they_are_read() -> None:
    parts: dict[str, float] = {"click": 1.0, "dwell_s": 20.0}

    # 1 x 1.0 + 20 x 0.5 = 11; then 1 x 2.0 + 20 x 0.0 = 2
    assert sent(parts)[0].value == 11.0
    assert sent(parts, by=rule(click=2.0, dwell_s=0.0))[0].value == 2.0


def test_a_plain_reward_keeps_its_number_under_any_weights() -> None:
    assert [one.value for one in sent(3.0, by=rule(click=7.0))] == [3.0]


def test_a_part_whose_weight_is_gone_adds_nothing() -> None:
    by = rule(click=1.0)

    assert total(sent({"click": 1.0, "dwell_s": 20.0}, by=by), by) == 1.0


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [("sum", 5.0), ("mean", 2.5), ("first", 1.0), ("last", 4.0), ("min", 1.0), ("max", 4.0)],
)
def test_a_reward_of_guards_alone_is_no_zero_among_the_others(
    aggregation: Aggregation, expected: float
) -> None:
    """Values 1 and 4; guards came before, between and after."""
    guard = {"complaints": 9.0}

    found = total(sent(guard, {"click": 1.0}, guard, 4.0, guard), rule(aggregation))

    assert found == expected


def test_guards_alone_are_no_reward_at_all() -> None:
    assert total(sent({"complaints": 9.0}), rule()) is None
    assert total([], rule()) is None


def test_the_largest_parts_under_the_largest_weights_have_a_finite_total() -> None:
    names = [f"c{at}" for at in range(1000)]
    by = RewardRule(components=dict.fromkeys(names, 1e12))

    found = total(sent(dict.fromkeys(names, 1e12), dict.fromkeys(names, 1e12), by=by), by)

    assert found is not None
    assert math.isfinite(found)


# -- any story, under any weights ------------------------------------------------------------------

amounts = st.integers(-8, 8).map(float)  # small whole numbers: sums of their products are exact
contents = st.one_of(
    amounts,
    st.dictionaries(st.sampled_from(["click", "dwell_s", "complaints"]), amounts, min_size=1),
)
stories = st.lists(
    st.tuples(st.sampled_from(["add", "amend", "retract"]), st.sampled_from("abc"), contents),
    max_size=12,
)
weights = st.dictionaries(st.sampled_from(["click", "dwell_s"]), amounts, min_size=1)
aggregations = st.sampled_from(["sum", "first", "last", "min", "max", "mean"])


def surviving(story: list[tuple[str, str, Any]]) -> list[Any]:
    """What counts in the end, in order of first arrival: an id counts once, and never again once it was
    taken back."""
    held: dict[str, Any] = {}
    seen: set[str] = set()
    for op, name, content in story:
        if op == "add" and name not in seen:
            held[name] = content
            seen.add(name)
        elif op == "amend" and name in held:
            held[name] = content
        elif op == "retract":
            held.pop(name, None)
    return list(held.values())


def expected_reward(story: list[tuple[str, str, Any]], by: RewardRule) -> float:
    values = []
    for content in surviving(story):
        if not isinstance(content, dict):
            values.append(content)
        elif content.keys() & by.components.keys():
            values.append(sum(by.components.get(n, 0.0) * x for n, x in content.items()))
    if not values:
        return by.default
    sums = {"sum": sum(values), "mean": sum(values) / len(values)}
    picked = {"first": values[0], "last": values[-1], "min": min(values), "max": max(values)}
    return float((sums | picked)[by.aggregation])


@given(stories, weights, weights, aggregations, st.integers(0, 1))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_what_is_learned_is_the_total_of_what_survived_under_the_weights_of_the_end(
    redis_url: str,
    story: list[tuple[str, str, Any]],
    before: dict[str, float],
    after: dict[str, float],
    aggregation: str,
    tick_ms: int,
) -> None:
    """In a real Redis: rewards are sent under one set of weights and joined under another, a millisecond apart or
    all in one."""
    guards = ["complaints"]
    unweighed = {n: 0.0 for n in ("click", "dwell_s") if n not in before}
    first = {"wait_s": 60, "components": before | unweighed, "guards": guards}
    then = first | {"components": after, "aggregation": aggregation, "default": -0.5}
    async with Redis.from_url(redis_url) as client:
        await client.flushall()
    async with open_world(redis_url, bandit(reward=first)) as world:
        await world.decide("d")
        for op, name, content in story:
            world.now_ms += tick_ms
            is_plain = op == "retract" or not isinstance(content, dict)
            value = None if op == "retract" or not is_plain else content
            components = {} if is_plain else content
            await world.reward("d", value, reward_id=name, op=op, components=components)
        world.config = parse_policy(bandit(reward=then))

        await world.join(at_ms=world.deadline_ms)

        [made] = await world.transitions()
        assert made.reward == expected_reward(story, world.config.reward)
