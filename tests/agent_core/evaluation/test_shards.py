"""What is drawn, chosen and blended does not depend on how a log was cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent_core.evaluation import slope
from agent_core.evaluation.bootstrap import poisson_counts, uniforms
from agent_core.evaluation.bounds import truncated_lower, truncation_limit
from agent_core.evaluation.magic import PartialSums, blended
from agent_core.evaluation.reward_model import FoldSums, cross_fitted, missed
from agent_core.types import Doubles, Integers

_keys = hnp.arrays(np.int64, st.integers(1, 20))
_partials = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 6), st.just(3)), elements=st.floats(-10, 10)
)


@given(_keys, st.integers(0, 19), st.integers(0, 2**63 - 1))
def test_a_row_is_drawn_alike_in_every_shard(keys: Integers, cut: int, seed: int) -> None:
    parts = [poisson_counts(part, 7, seed) for part in (keys[:cut], keys[cut:])]

    assert np.concatenate(parts, 1).tolist() == poisson_counts(keys, 7, seed).tolist()


def test_counts_are_poisson_with_mean_1() -> None:
    counts = poisson_counts(np.arange(500), 400, seed=3)

    # 200,000 numbers with variance 1: standard errors of 0.0022, and of the share of zeros 0.0011.
    assert counts.mean() == pytest.approx(1.0, abs=0.009)
    assert counts.var() == pytest.approx(1.0, abs=0.02)
    assert (counts == 0).mean() == pytest.approx(np.exp(-1), abs=0.0045)


def test_rows_and_replicates_are_independent() -> None:
    drawn = uniforms(np.arange(300), 300, seed=1)

    # Correlations of 300 pairs have a standard deviation of 0.058; there are twice 299 of them.
    along = [np.corrcoef(drawn[0], other)[0, 1] for other in drawn[1:]]
    across = [np.corrcoef(drawn[:, 0], other)[0, 1] for other in drawn.T[1:]]
    assert np.abs([*along, *across]).max() < 0.058 * 4.5
    assert (uniforms(np.arange(300), 1, seed=2) != drawn[:1]).all()


def test_counted_values_have_the_bound_of_all_of_them() -> None:
    values, counts = np.array([0.0, 1.0, 7.0]), np.array([50, 30, 3])
    rows = np.repeat(values, counts)

    assert truncated_lower(values, 2.0, 0.05, counts) == pytest.approx(
        truncated_lower(rows, 2.0, 0.05)
    )
    assert truncation_limit(values, 100, 0.05, counts) == truncation_limit(rows, 100, 0.05)


@given(_partials, _partials)
def test_partial_values_of_shards_add_up(one: Doubles, other: Doubles) -> None:
    merged = PartialSums.of(one).merged(PartialSums.of(other))

    whole = PartialSums.of(np.concatenate([one, other]))
    assert merged.count == whole.count
    assert merged.mean == pytest.approx(whole.mean, abs=1e-9)
    assert merged.scatter == pytest.approx(whole.scatter, abs=1e-8)


def test_a_blend_is_the_mean_of_blended_episodes() -> None:
    partial, shares = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 12.0]]), np.array([0.25, 0.75])

    estimate = blended(PartialSums.of(partial), shares)

    # 1.75, 3.75, 10.25: mean 5.25, variance (12.25 + 2.25 + 25) / 2.
    assert (estimate.value, estimate.variance, estimate.count) == pytest.approx((5.25, 19.75, 3))


def test_what_a_model_missed_follows_from_sums() -> None:
    generator = np.random.default_rng(0)
    features, reward = generator.normal(size=(30, 3)), generator.normal(size=30)
    folds = np.arange(30) % 2
    sums = FoldSums.of(features, reward, np.ones(30), folds, 2)

    coefficients = cross_fitted(sums, np.array([1.0, 2.0, 3.0]))

    errors = reward - (features * coefficients[folds]).sum(1)
    assert missed(sums, coefficients) == pytest.approx((errors**2).sum())


def test_a_ridge_may_be_each_feature_s_own() -> None:
    sums = FoldSums.of(np.eye(2), np.array([3.0, 4.0]), np.ones(2), np.array([0, 0]), 2)

    # The second fold learns from the first: 3 / (1 + 2), 4 / (1 + 7).
    assert cross_fitted(sums, np.array([2.0, 7.0]))[1] == pytest.approx([1.0, 0.5])


def test_a_known_order_of_bias_is_kept_to() -> None:
    # The least biased is also the narrowest, as of a self-normalized estimate; the others contradict it.
    value, width = np.array([2.0, 1.5, 1.0]), np.array([0.05, 0.1, 0.2])

    assert slope.chosen(value, width, np.arange(3)) == 0
    assert slope.chosen(value, width) == 2
