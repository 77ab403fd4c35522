"""A task with changing action sets, by hand.

In state 0 there are actions a and b, in state 1 only c. The log has a three times (reward 1, the end), b twice
(reward 0, then state 1), c once with reward 4 and state 1 again, and once with reward 2 and the end. The
target policy takes a with 1/4 and b with 3/4. With the discount 1/2:

    q(c) = 3 + 1/2 * 1/2 * q(c) = 4, q(b) = 1/2 * 4 = 2, q(a) = 1, worth 1/4 * 1 + 3/4 * 2 = 1.75
"""

from __future__ import annotations

import numpy as np
import pytest

from agent_core.evaluation.fitted_q import StepSums, fitted_q, visit_coefficients
from agent_core.evaluation.logged import segment_sum
from agent_core.evaluation.moments import Moments, plain
from agent_core.evaluation.terms import importance

_A, _B, _C = np.eye(3)
_TAKEN = np.array([_A, _A, _A, _B, _B, _C, _C])
_END = np.zeros(3)
_FOLLOWING = np.array([_END, _END, _END, _C, _C, _C, _END])
_REWARD = np.array([1.0, 1, 1, 0, 0, 4, 2])
# Episodes began with a, a, a, b and b: five times with the set of a and b.
_START = np.tile(
    segment_sum(np.array([[0.25], [0.75]]) * np.array([_A, _B]), np.array([0, 2])), (5, 1)
)
_SUMS = StepSums.of(_TAKEN, _FOLLOWING, _REWARD, _START)
_RIDGE = 1e-9


def test_the_first_round_sees_rewards_and_the_second_one_step_ahead() -> None:
    first, second = (fitted_q(_SUMS, 0.5, _RIDGE, rounds) for rounds in (1, 2))

    assert first == pytest.approx([1.0, 0.0, 3.0], abs=1e-6)
    assert second == pytest.approx([1.0, 1.5, 3.75], abs=1e-6)


def test_many_rounds_find_the_value_of_the_target_policy() -> None:
    coefficients = fitted_q(_SUMS, 0.5, _RIDGE, rounds=50)

    assert coefficients == pytest.approx([1.0, 2.0, 4.0], abs=1e-6)
    assert (_START @ coefficients).mean() == pytest.approx(1.75, abs=1e-6)


def test_steps_count_by_how_often_the_target_policy_comes_there() -> None:
    weight = _TAKEN @ visit_coefficients(_SUMS, 0.5, _RIDGE)

    # Visits 1/4 of a, 3/4 of b, and 3/4 * 1/2 * (1 + 1/4 + 1/16 + ...) = 1/2 of c; in the log 3/7, 2/7, 2/7.
    assert weight[[0, 3, 5]] == pytest.approx([7 / 12, 21 / 8, 7 / 4], abs=1e-6)
    assert plain(Moments.of(importance(_REWARD, weight))).value == pytest.approx(1.75, abs=1e-6)
    # As many discounted steps as visits.
    assert weight.mean() == pytest.approx(1.5, abs=1e-6)


def test_shards_add_up_to_the_whole() -> None:
    merged = StepSums.of(_TAKEN[:2], _FOLLOWING[:2], _REWARD[:2], _START[:2]).merged(
        StepSums.of(_TAKEN[2:], _FOLLOWING[2:], _REWARD[2:], _START[2:])
    )

    # Small whole numbers and quarters: nothing is rounded.
    assert (merged.steps, merged.episodes) == (7, 5)
    for name in ("gram", "cross", "moment", "start"):
        assert getattr(merged, name).tolist() == getattr(_SUMS, name).tolist()
