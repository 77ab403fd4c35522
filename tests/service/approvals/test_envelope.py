"""Which proposals need a person, and how likely each action is meanwhile."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.functional.choice import sample
from agent_core.types import Doubles
from service.approvals.envelope import causes, fallback_eligible, inside, judge, within
from service.approvals.rule import ApprovalRule

RULE = ApprovalRule.model_validate(
    {
        "envelope": [
            {"feature": 0, "op": "<=", "value": 3.5},
            {"feature": 0, "of": "state", "op": "<", "value": 100},
        ],
        "least_confidence": 0.5,
    }
)
CALM, BUSY = np.array([1.0], np.float32), np.array([100.0], np.float32)
ACTIONS = np.array([[1.0], [3.5], [4.0]], np.float32)


def test_an_action_must_fulfil_every_condition_on_itself_and_on_the_state() -> None:
    assert within(RULE, CALM, ACTIONS).tolist() == [True, True, False]
    assert within(RULE, BUSY, ACTIONS).tolist() == [False, False, False]


def test_a_policy_that_is_not_sure_enough_needs_a_person_whatever_it_proposes() -> None:
    fulfils = within(RULE, CALM, ACTIONS)

    assert inside(RULE, np.array([0.5, 0.3, 0.2]), fulfils).tolist() == [True, True, False]
    assert inside(RULE, np.array([0.4, 0.3, 0.3]), fulfils).tolist() == [False, False, False]


def test_the_causes_name_the_places_in_the_rule() -> None:
    sure, unsure = np.array([0.6, 0.2, 0.2]), np.array([0.4, 0.3, 0.3])

    assert causes(RULE, CALM, ACTIONS[0], sure) == ()
    assert causes(RULE, CALM, ACTIONS[2], sure) == ("envelope.0",)
    assert causes(RULE, BUSY, ACTIONS[2], unsure) == (
        "envelope.0",
        "envelope.1",
        "least_confidence",
    )


def test_what_is_done_at_once_is_the_policy_inside_and_the_fallback_for_the_rest() -> None:
    # Outside lies 0.3 (the third). The fallback is the first action for sure, so it gets all of it:
    # 0.5 + 0.3 = 0.8, and the second keeps its 0.2.
    probabilities, fallback = np.array([0.5, 0.2, 0.3]), np.array([1.0, 0.0, 0.0])
    needless = np.array([True, True, False])

    judged = judge(probabilities, needless, fallback, 2)

    assert judged.composed == pytest.approx([0.8, 0.2, 0.0], abs=1e-15)
    assert judged.outside == pytest.approx(0.3)
    assert judged.needs_person
    assert not judge(probabilities, needless, fallback, 1).needs_person


def test_nobody_is_asked_about_what_the_fallback_would_do_anyway() -> None:
    probabilities, nothing = np.array([0.4, 0.6]), np.zeros(2, bool)

    judged = judge(probabilities, nothing, np.array([1.0, 0.0]), 0)

    assert not judged.needs_person
    assert judged.composed.tolist() == [1.0, 0.0]
    assert judge(probabilities, nothing, np.array([0.5, 0.5]), 0).needs_person


def test_where_nothing_is_outside_the_probabilities_are_the_policys_to_the_last_bit() -> None:
    probabilities = np.array([0.1, 0.2, 0.7])

    judged = judge(probabilities, np.ones(3, bool), np.full(3, 1 / 3), 0)

    assert judged.composed.tolist() == probabilities.tolist()
    assert judged.outside == 0.0


def test_the_fallback_keeps_to_the_envelope_wherever_an_action_fulfils_it() -> None:
    allowed, fulfils = np.array([True, True, False]), np.array([False, True, True])

    assert fallback_eligible(allowed, fulfils).tolist() == [False, True, False]
    assert fallback_eligible(allowed, np.zeros(3, bool)).tolist() == [True, True, False]


@st.composite
def distributions(draw: st.DrawFn, actions: int) -> Doubles:
    weights = draw(st.lists(st.integers(0, 1000), min_size=actions, max_size=actions).filter(any))
    whole = np.array(weights, np.float64)
    return np.asarray(whole / whole.sum())


@st.composite
def cases(draw: st.DrawFn) -> tuple[Doubles, Doubles, list[bool]]:
    actions = draw(st.integers(1, 12))
    needless = draw(st.lists(st.booleans(), min_size=actions, max_size=actions))
    return draw(distributions(actions)), draw(distributions(actions)), needless


@given(cases())
def test_the_composed_probabilities_are_a_distribution(
    case: tuple[Doubles, Doubles, list[bool]],
) -> None:
    probabilities, fallback, needless = case

    composed = judge(probabilities, np.array(needless), fallback, 0).composed

    assert (composed >= 0).all()
    assert composed.sum() == pytest.approx(1.0, abs=1e-12)


@given(cases())
def test_the_composed_probabilities_are_those_of_the_two_draws(
    case: tuple[Doubles, Doubles, list[bool]],
) -> None:
    """Every pair of a proposal and a fallback, each with its own random number, by enumeration."""
    probabilities, fallback, needless = case
    taken = np.zeros(len(probabilities))
    for proposal, p in enumerate(probabilities):
        needs_person = judge(probabilities, np.array(needless), fallback, proposal).needs_person
        for other, q in enumerate(fallback):
            taken[other if needs_person else proposal] += p * q

    assert judge(probabilities, np.array(needless), fallback, 0).composed == pytest.approx(
        taken, abs=1e-12
    )


def test_two_draws_with_their_own_random_numbers_take_actions_as_often_as_is_said() -> None:
    generator = np.random.Generator(np.random.PCG64(0))
    probabilities, fallback = np.array([0.5, 0.2, 0.3]), np.array([0.25, 0.75, 0.0])
    needless = np.array([True, False, True])
    counts = np.zeros(3)
    for first, second in generator.random((20_000, 2)):
        proposal = sample(probabilities, first)
        needs_person = judge(probabilities, needless, fallback, proposal).needs_person
        counts[sample(fallback, second) if needs_person else proposal] += 1

    # Standard error of a share at most 0.5 / sqrt(20000) = 0.0035; five of them.
    assert counts / 20_000 == pytest.approx(
        judge(probabilities, needless, fallback, 0).composed, abs=0.018
    )
