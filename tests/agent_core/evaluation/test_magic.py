"""The blend of a model and of weighted rewards, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent_core.evaluation.magic import PartialSums, blend, partial_values
from agent_core.evaluation.sequential import episode_values
from agent_core.types import Doubles


def test_the_model_takes_over_after_every_number_of_steps() -> None:
    # Two steps, then an episode of one; discount 1/2. The first episode:
    # the model alone: 5; after one step: 5 + 2 * (1 - 3) + 1/2 * 2 * 6 = 7;
    # after both: 7 + 1/2 * 4 * (2 - 1) = 9. The second: 7, then 7 + 3 * (4 - 2) = 13.
    partial = partial_values(
        reward=np.array([1.0, 2.0, 4.0]),
        weight=np.array([2.0, 4.0, 3.0]),
        taken=np.array([3.0, 1.0, 2.0]),
        expected=np.array([5.0, 6.0, 7.0]),
        offsets=np.array([0, 2, 3]),
        discount=0.5,
    )

    assert partial.tolist() == [[5, 7, 9], [7, 13, 13]]


@given(hnp.arrays(np.float64, (4, 5), elements=st.floats(-5, 5)))
def test_the_longest_is_the_doubly_robust_estimate(columns: Doubles) -> None:
    offsets, (reward, weight, taken, expected) = np.array([0, 2, 3, 5]), columns

    partial = partial_values(reward, weight, taken, expected, offsets, 0.9)

    robust = episode_values(reward, weight, taken, expected, offsets, 0.9)
    assert partial[:, -1] == pytest.approx(robust, abs=1e-9)


def test_without_bias_shares_are_inverse_to_variances() -> None:
    # Uncorrelated, with variances of 16/3 and 4/3.
    partial = np.array([[2.0, 1.0], [2.0, -1.0], [-2.0, 1.0], [-2.0, -1.0]])

    assert blend(PartialSums.of(partial), replicates=np.zeros(10)) == pytest.approx([0.2, 0.8])


def test_a_model_that_lies_outside_of_the_interval_counts_by_its_bias() -> None:
    # 8 beyond the interval's end of 2, without variance, against a variance of 4/3 / 4 of the other:
    # shares in proportion to 1/64 and 3.
    partial = np.array([[10.0, 1.0], [10.0, -1.0], [10.0, 1.0], [10.0, -1.0]])

    assert blend(PartialSums.of(partial), replicates=np.full(10, 2.0)) == pytest.approx(
        [1 / 193, 192 / 193]
    )


def test_lengths_that_agree_in_everything_may_share_as_they_like() -> None:
    shares = blend(PartialSums.of(np.full((3, 4), 2.0)), np.full(10, 2.0))

    assert shares.sum() == 1.0


@given(hnp.arrays(np.float64, (6, 4), elements=st.floats(-10, 10)))
def test_a_blend_is_never_worse_than_one_length_alone(partial: Doubles) -> None:
    means = partial.mean(0)

    shares = blend(PartialSums.of(partial), means[-1:])

    bias = means - means[-1]
    error = np.cov(partial, rowvar=False) / 6 + np.outer(bias, bias)
    assert (shares >= 0).all()
    assert shares.sum() == pytest.approx(1.0)
    assert shares @ error @ shares <= error.diagonal().min() + 1e-9 * error.trace()
