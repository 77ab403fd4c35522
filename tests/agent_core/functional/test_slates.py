"""Slates by hand, and that their probabilities are those of the draw."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.errors import EmptyActionSetError
from agent_core.functional.choice import epsilon_greedy, greedy, softmax, uniform_from
from agent_core.functional.slates import draw_slate, slate_propensities
from agent_core.types import Doubles, Mask


def _in_proportion(slot: int, value: Doubles) -> Doubles:
    shares: Doubles = value / value.sum()
    return shares


def _greedy(slot: int, value: Doubles) -> Doubles:
    return greedy(value)


def _everything(value: Doubles) -> Mask:
    return np.ones(value.shape, bool)


# Three actions, two slots.
_VALUE = np.array([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]])


def test_every_pick_is_among_what_the_picks_before_it_left() -> None:
    slate = draw_slate(_VALUE, _everything(_VALUE), _in_proportion, [0.6, 0.1])

    # 0.6 falls on the second action (0.5 to 0.8). The first and third are left, at 0.1 : 0.3,
    # which is 1/4 : 3/4, and 0.1 falls on the first.
    assert slate.indices == (1, 0)
    assert slate.propensities == pytest.approx([0.3, 0.25])
    assert slate.joint_propensity == pytest.approx(0.075)


def test_a_slate_of_one_action_after_the_other_is_certain_without_exploration() -> None:
    value = np.array([[1.0, 3.0, 2.0]] * 3)

    slate = draw_slate(value, _everything(value), _greedy, [0.9, 0.9, 0.9])

    assert slate.indices == (1, 2, 0)
    assert slate.joint_propensity == 1.0


def test_each_slot_may_forbid_actions_of_its_own() -> None:
    allowed = np.array([[False, True, True], [False, True, True]])

    slate = draw_slate(_VALUE, allowed, _in_proportion, [0.0, 0.0])

    # The first slot: 0.3 of 0.3 + 0.2. The second has nothing but the third action left.
    assert slate.indices == (1, 2)
    assert slate.propensities == pytest.approx([0.6, 1.0])


def test_a_slot_for_which_nothing_is_left_is_an_error() -> None:
    allowed = np.array([[False, True, False], [False, True, False]])

    with pytest.raises(EmptyActionSetError, match="slot 1"):
        draw_slate(_VALUE, allowed, _in_proportion, [0.0, 0.0])


def test_equal_slots_under_a_softmax_are_plackett_luce() -> None:
    value = np.log(np.array([[1.0, 2.0, 5.0]] * 3))

    propensities = slate_propensities(
        value, _everything(value), lambda slot, left: softmax(left, 1.0), [2, 0, 1]
    )

    # 5/8, then 1/3 of what is left, then the last.
    assert propensities == pytest.approx([5 / 8, 1 / 3, 1.0])


def test_a_slate_that_takes_an_action_twice_or_one_not_allowed_has_no_probability() -> None:
    allowed = np.array([[True, True, False], [True, True, True]])

    assert slate_propensities(_VALUE, allowed, _in_proportion, [1, 1])[1] == 0.0
    assert slate_propensities(_VALUE, allowed, _in_proportion, [2, 1])[0] == 0.0


@given(st.integers(0, 2**32), st.integers(1, 3), st.floats(0, 1))
def test_the_probabilities_of_all_slates_sum_to_one(seed: int, slots: int, epsilon: float) -> None:
    value = np.random.default_rng(seed).standard_normal((slots, 4))

    def rule(slot: int, left: Doubles) -> Doubles:
        return epsilon_greedy(left, epsilon)

    total = sum(
        slate_propensities(value, _everything(value), rule, slate).prod()
        for slate in permutations(range(4), slots)
    )

    assert total == pytest.approx(1.0, abs=1e-12)


def test_slates_are_drawn_as_often_as_their_probability_says() -> None:
    draws = 20_000

    counts = Counter(
        draw_slate(
            _VALUE,
            _everything(_VALUE),
            _in_proportion,
            [uniform_from(2 * i), uniform_from(2 * i + 1)],
        ).indices
        for i in range(draws)
    )

    # By hand: 0.5 * 2/3, 0.5 * 1/3, 0.3 * 1/4, 0.3 * 3/4, 0.2 * 1/7, 0.2 * 6/7.
    expected = {
        (0, 1): 1 / 3, (0, 2): 1 / 6, (1, 0): 0.075, (1, 2): 0.225, (2, 0): 0.2 / 7, (2, 1): 1.2 / 7,
    }  # fmt: skip
    # Chi-squared with 5 degrees of freedom exceeds 20.5 with probability 0.001.
    deviations = [(counts[s] - draws * p) ** 2 / (draws * p) for s, p in expected.items()]
    assert sum(deviations) < 20.5
