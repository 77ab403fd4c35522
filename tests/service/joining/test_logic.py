"""What becomes of a decision, decided without Redis and without a clock."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.safety.action_filter import ActionFilterConfig
from service.decisions.repository import EpisodePlace
from service.decisions.schemas import Observation
from service.feedback.ledger import Aggregation, Ledger, LedgerReward
from service.feedback.schemas import EpisodeEnd
from service.joining.logic import (
    Closed,
    EpisodeFacts,
    Frame,
    NextDecision,
    Parked,
    Settled,
    Successor,
    Taken,
    Terminated,
    after_the_end,
    follow,
    next_step,
    reward_of,
    settle,
    transition_of,
)
from service.policies.catalog import CatalogDocument
from service.policies.config import PolicyConfig, parse_policy
from service.policies.encoding import Encoding
from tests.support.policies import bandit

DEADLINE_MS = 1_000
RULES: tuple[Aggregation, ...] = ("sum", "first", "last", "max", "min", "mean")


def config(aggregation: Aggregation = "sum", default: float = 0.0, **sections: Any) -> PolicyConfig:
    rule = {"wait_s": 60, "aggregation": aggregation, "default": default}
    return parse_policy(bandit(reward=rule, **sections))


def ledger(*values: float, is_final: bool = False, cost: float = 0.0) -> Ledger:
    """Rewards that arrived one after another, a millisecond apart."""
    rewards = tuple(
        LedgerReward(f"r{at}", value, cost, "", {}, at) for at, value in enumerate(values)
    )
    return Ledger(rewards, (), len(values), is_final)


def taken(**changes: object) -> Taken:
    whole = {
        "kind": "decision",
        "observation": Observation(vector=[1.0, 2.0]),
        "actions": ["a", "b", "c"],
        "excluded": [],
        "action_id": "b",
        "propensity": 0.5,
        "model_version": 3,
        "config_hash": "c:1",
        "feature_schema": "fs:1",
        "catalog": 0,
        "place": None,
        "may_teach": True,
    }
    return Taken(**{**whole, **changes})  # type: ignore[arg-type]


def settled(
    of: Ledger,
    *,
    by: PolicyConfig | None = None,
    about: Taken | None = None,
    now_ms: int = DEADLINE_MS,
    is_activated: bool = True,
    quarantined: frozenset[int] = frozenset(),
) -> Parked | Closed | Settled:
    return settle(
        about or taken(),
        of,
        by or config(),
        is_activated=is_activated,
        deadline_ms=DEADLINE_MS,
        quarantined=quarantined,
        now_ms=now_ms,
    )


# -- the reward (failure table row 8) -------------------------------------------------------------

amounts = st.lists(st.floats(-1e12, 1e12, allow_nan=False), min_size=1, max_size=20)


@given(st.sampled_from(RULES), amounts, st.floats(-1e12, 1e12))
def test_a_default_never_mixes_with_rewards_that_came(
    rule: Aggregation, values: list[float], default: float
) -> None:
    """(failure table row 8): VW's `max` answers the default when every reward is negative."""
    with_default = reward_of(ledger(*values), config(rule, default))

    assert with_default == reward_of(ledger(*values), config(rule, 0.0))


@given(st.sampled_from(RULES), amounts)
def test_every_rule_stays_between_the_smallest_and_the_largest_reward_or_is_their_sum(
    rule: Aggregation, values: list[float]
) -> None:
    """(failure table row 8)"""
    reward = reward_of(ledger(*values), config(rule))

    assert math.isfinite(reward)
    if rule == "sum":
        assert reward == pytest.approx(math.fsum(values), rel=1e-9, abs=1e-2)
    else:
        slack = 1e-9 * max(abs(value) for value in values)
        assert min(values) - slack <= reward <= max(values) + slack


@given(st.lists(st.floats(-1e12, -1e-300), min_size=1, max_size=20))
def test_the_maximum_of_negative_rewards_is_one_of_them(values: list[float]) -> None:
    """(failure table row 8)"""
    assert reward_of(ledger(*values), config("max", default=0.0)) in values


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("sum", -6.0), ("first", -3.0), ("last", -2.0), ("max", -1.0), ("min", -3.0), ("mean", -2.0)],
)
def test_negative_rewards_by_hand(rule: Aggregation, expected: float) -> None:
    """(failure table row 8): -3 - 1 - 2 = -6, and -6 / 3 = -2."""
    assert reward_of(ledger(-3.0, -1.0, -2.0), config(rule)) == expected


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("value", [0.0, -1.0, 2.5])
def test_a_single_reward_is_the_reward(rule: Aggregation, value: float) -> None:
    """(failure table row 8): 0 is a reward, not the absence of one."""
    found = settled(ledger(value), by=config(rule, default=9.0))

    assert found == Settled("rewarded", value, 0.0)


@pytest.mark.parametrize("rule", RULES)
def test_an_empty_ledger_gives_the_default(rule: Aggregation) -> None:
    """(failure table rows 7 and 8)"""
    assert settled(ledger(), by=config(rule, default=-1.5)) == Settled("defaulted", -1.5, 0.0)


@pytest.mark.parametrize("rule", ["first", "last", "max", "min", "mean"])
def test_ties_do_not_matter(rule: Aggregation) -> None:
    """(failure table row 8)"""
    assert reward_of(ledger(2.0, 2.0, 2.0), config(rule)) == 2.0


def test_costs_add_up_whatever_the_rule_for_rewards() -> None:
    found = settled(ledger(1.0, 5.0, cost=0.25), by=config("max"))

    assert found == Settled("rewarded", 5.0, 0.5)


# -- the window -----------------------------------------------------------------------------------


def test_before_the_deadline_a_decision_waits_for_more_rewards() -> None:
    assert settled(ledger(1.0), now_ms=DEADLINE_MS - 1) == Parked(DEADLINE_MS)


def test_a_final_reward_ends_the_wait() -> None:
    found = settled(ledger(1.0, is_final=True), now_ms=0)

    assert found == Settled("rewarded", 1.0, 0.0)


def test_a_final_retraction_leaves_the_default() -> None:
    assert settled(ledger(is_final=True), now_ms=0) == Settled("defaulted", 0.0, 0.0)


def test_a_decision_that_was_never_shown_is_not_even_defaulted() -> None:
    """(failure table row 6)"""
    assert settled(ledger(1.0), is_activated=False) == Closed("not_activated")


def test_a_final_reward_before_the_activation_waits_for_the_activation() -> None:
    found = settled(ledger(1.0, is_final=True), is_activated=False, now_ms=0)

    assert found == Parked(DEADLINE_MS)


# -- who may teach --------------------------------------------------------------------------------


def test_logging_only_is_recorded_and_not_learned() -> None:
    found = settled(ledger(1.0), about=taken(may_teach=False))

    assert found == Closed("not_learned", 1.0, 0.0)


def test_a_quarantined_version_does_not_teach_and_its_neighbours_do() -> None:
    """(failure table row 30)"""
    versions = frozenset({3})

    assert settled(ledger(1.0), quarantined=versions) == Closed("quarantined", 1.0, 0.0)
    assert isinstance(
        settled(ledger(1.0), about=taken(model_version=4), quarantined=versions), Settled
    )


@pytest.mark.parametrize(
    ("from_shadow", "propensity", "teaches"),
    [(True, 0.25, True), (False, 0.25, False), (True, 0.0, False)],
)
def test_a_shadow_teaches_if_the_policy_says_so_and_its_propensity_is_known(
    from_shadow: bool, propensity: float, teaches: bool
) -> None:
    shadow = taken(kind="shadow", model_version=0, propensity=propensity)

    found = settled(ledger(1.0), about=shadow, by=config(learning={"from_shadow": from_shadow}))

    assert isinstance(found, Settled) == teaches


# -- what follows (failure table row 37) ----------------------------------------------------------


def facts(
    next_id: str | None = None,
    last: int | None = 4,
    sealed: str | None = None,
    end: bytes | None = None,
) -> EpisodeFacts:
    return EpisodeFacts(next_id, last, sealed, end)


END = EpisodeEnd(Observation(vector=[3.0, 4.0]), ["a", "b"])


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (facts("d5", last=5), NextDecision("d5")),
        (facts("d5", last=5, sealed="abandoned"), NextDecision("d5")),
        (facts(), Parked(1_500, 5)),
        (facts(last=9), Parked(1_500, 5)),
        (facts(sealed="terminated"), Terminated()),
        (facts(sealed="truncated", end=msgspec.msgpack.encode(END)), END),
        (facts(sealed="truncated"), Closed("no_successor")),
        (facts(sealed="abandoned"), Closed("no_successor")),
        (facts(last=9, sealed="terminated"), Closed("no_successor")),
        (facts(last=None), Closed("no_successor")),
    ],
    ids=[
        "the next step",
        "the next step of an abandoned episode",
        "nothing yet",
        "a gap that may still be filled",
        "the end",
        "cut off, and the end was seen",
        "cut off unseen",
        "abandoned",
        "a gap in an episode that has ended",
        "an episode that is gone",
    ],
)
def test_what_follows_step_4(known: EpisodeFacts, expected: object) -> None:
    """(failure table row 37)"""
    assert follow(4, known, idle_ms=500, now_ms=1_000) == expected


# -- the transition -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def frame() -> Frame:
    agent = config().agent
    safety = ActionFilterConfig(denied=("c",)).build()
    return Frame("fs:1", Encoding(agent, CatalogDocument(0, {})), safety)


def test_a_decision_without_an_episode_is_terminated(frame: Frame) -> None:
    made = transition_of("d", taken(), Settled("rewarded", 2.0, 0.5), frame, Successor())

    assert (made.terminated, made.truncated) == (True, False)
    assert (made.next_state, made.next_actions) == (None, None)
    assert (made.reward, made.cost, made.propensity, made.model_version) == (2.0, 0.5, 0.5, 3)
    assert made.actions.ids == ("a", "b", "c")
    assert made.action == 1
    np.testing.assert_array_equal(made.state, [1.0, 2.0])


def test_the_next_actions_are_those_that_could_be_taken(frame: Frame) -> None:
    """Of a, b, c the caller excluded a, and safety denies c."""
    after = next_step(taken(excluded=["a"]), frame)

    assert after.actions is not None
    assert after.actions.ids == ("b",)
    only_b, _ = frame.encoding.actions(["b"])
    np.testing.assert_array_equal(after.actions.features, only_b.features)


@pytest.mark.parametrize(
    ("action_id", "position"), [("b", 0), ("a", None), ("c", None)], ids=["b", "excluded", "denied"]
)
def test_what_was_done_next_is_a_position_among_what_could_be_done(
    frame: Frame, action_id: str, position: int | None
) -> None:
    """Only b is left of a, b, c; a baseline may have been taken from what was denied."""
    after = next_step(taken(excluded=["a"], action_id=action_id), frame)

    assert after.action == position


def test_where_a_step_stands_is_part_of_what_is_learned(frame: Frame) -> None:
    third = taken(place=EpisodePlace("e", 3))
    after = next_step(taken(action_id="b"), frame)

    made = transition_of("d", third, Settled("rewarded", 1.0, 0.0), frame, after)

    assert (made.episode_id, made.step, made.next_action) == ("e", 3, 1)


def test_outside_of_an_episode_there_is_no_place_and_no_next_action(frame: Frame) -> None:
    made = transition_of("d", taken(), Settled("rewarded", 1.0, 0.0), frame, Successor())

    assert (made.episode_id, made.step, made.next_action) == ("", 0, None)


def test_nothing_may_be_left_to_do(frame: Frame) -> None:
    after = next_step(taken(excluded=["a", "b"]), frame)

    assert after.actions is not None
    assert after.actions.ids == ()
    assert len(after.actions.features) == 0


def test_an_end_that_was_seen_is_truncated_not_terminated(frame: Frame) -> None:
    after = after_the_end(EpisodeEnd(Observation(vector=[3.0, 4.0]), ["a", "c"]), frame)

    assert after is not None
    made = transition_of("d", taken(), Settled("rewarded", 1.0, 0.0), frame, after)
    assert (made.terminated, made.truncated) == (False, True)
    assert made.next_state is not None
    np.testing.assert_array_equal(made.next_state, [3.0, 4.0])
    assert made.next_actions is not None
    assert made.next_actions.ids == ("a",)


@pytest.mark.parametrize(
    "end", [EpisodeEnd(None, ["a"]), EpisodeEnd(Observation(vector=[3.0, 4.0]), None)]
)
def test_half_an_end_is_too_little(end: EpisodeEnd, frame: Frame) -> None:
    assert after_the_end(end, frame) is None


def test_an_action_that_was_not_available_cannot_be_joined(frame: Frame) -> None:
    with pytest.raises(ValueError, match="tuple"):
        transition_of("d", taken(action_id="z"), Settled("rewarded", 1.0, 0.0), frame, Successor())
