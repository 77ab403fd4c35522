from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_core.monitoring.moments import ColumnMoments, gaussian_kl
from agent_core.monitoring.nulls import NullScores
from agent_core.monitoring.random_features import (
    MeanEmbedding,
    RandomFeatures,
    mmd_null,
    squared_mmd,
)
from agent_core.types import Doubles
from tests.agent_core.monitoring.strategies import assert_order_does_not_matter, rows


def test_embedded_rows_have_length_1_and_come_from_the_seed() -> None:
    reference = np.random.default_rng(0).standard_normal((50, 3))

    one, same = (RandomFeatures.of(reference, 16, np.random.default_rng(7)) for _ in range(2))

    assert one.embed(reference).shape == (50, 16)
    assert np.linalg.norm(one.embed(reference), axis=1) == pytest.approx(1.0)
    assert np.array_equal(one.embed(reference), same.embed(reference))


def test_products_of_embedded_rows_are_near_the_gaussian_kernel() -> None:
    features = RandomFeatures(
        np.zeros(2), np.ones(2), np.random.default_rng(0).standard_normal((2, 20_000))
    )

    x, y = features.embed(np.array([[0.0, 0.0], [0.6, 0.8]]))

    # A width of 1: exp(-1 / 2).
    assert x @ y == pytest.approx(math.exp(-0.5), abs=0.02)


def test_the_width_is_half_the_median_distance_of_rows() -> None:
    # Two rows, one unit apart on each of 4 features after scaling: deviation (ddof 1) of 0 and 1 is 0.7071.
    reference = np.array([[0.0] * 4, [1.0] * 4])

    features = RandomFeatures.of(reference, 100_000, np.random.default_rng(0))

    # Each distance is sqrt(4) / 0.7071 = 2.828, and frequencies have the inverse of half of it for deviation.
    assert features.frequencies.std() == pytest.approx(2 / math.sqrt(8), rel=0.01)


def test_constant_features_and_constant_references_are_embedded() -> None:
    features = RandomFeatures.of(np.full((5, 2), 0.1), 8, np.random.default_rng(0))

    embedded = features.embed(np.array([[0.1, 0.1], [2.0, 0.1]]))

    assert np.isfinite(embedded).all()
    assert squared_mmd(MeanEmbedding.of(embedded[:1]), MeanEmbedding.of(embedded[1:])) > 0.1


def test_the_discrepancy_is_the_squared_distance_of_means() -> None:
    window = MeanEmbedding(2, np.array([2.0, 4.0]))
    reference = MeanEmbedding(4, np.array([4.0, 4.0]))

    # (1, 2) and (1, 1).
    assert squared_mmd(window, reference) == pytest.approx(1.0)


@given(st.tuples(rows(4), rows(4), rows(4)))
@settings(max_examples=50, deadline=None)
def test_the_order_of_merging_does_not_matter(parts: tuple[Doubles, Doubles, Doubles]) -> None:
    assert_order_does_not_matter(MeanEmbedding.of, list(parts))


def test_new_windows_of_several_sizes_are_beyond_a_quantile_as_often_as_asked() -> None:
    random = np.random.default_rng(3)
    reference = random.standard_normal((4000, 4))
    features = RandomFeatures.of(reference, 64, random)
    embedded = features.embed(reference)
    whole = MeanEmbedding.of(embedded)
    null = mmd_null(embedded, size=400, draws=800, random=random)

    def alarms(size: int) -> int:
        windows = (
            MeanEmbedding.of(features.embed(random.standard_normal((size, 4)))) for _ in range(400)
        )
        return sum(null.p_value(squared_mmd(window, whole), size) < 0.05 for window in windows)

    # Binomial(400, 0.05): mean 20, deviation 4.4; the reference and the draws add some.
    assert 5 <= alarms(400) <= 38
    assert 5 <= alarms(150) <= 38


def test_a_change_that_no_single_feature_shows_is_seen() -> None:
    random = np.random.default_rng(4)
    shape = [[1.0, 0.9], [0.9, 1.0]]
    reference = random.multivariate_normal([0.0, 0.0], shape, 4000)
    features = RandomFeatures.of(reference, 64, random)
    embedded = features.embed(reference)
    null = mmd_null(embedded, size=300, draws=200, random=random)

    apart = MeanEmbedding.of(features.embed(random.standard_normal((300, 2))))

    assert null.p_value(squared_mmd(apart, MeanEmbedding.of(embedded)), 300) == 1 / 201


def test_a_null_of_divergences_makes_up_for_columns_that_are_not_normal() -> None:
    random = np.random.default_rng(5)
    reference = random.exponential(size=(4000, 3))
    whole = ColumnMoments.of(reference)

    def distance(part: Doubles) -> float:
        return gaussian_kl(ColumnMoments.of(part), whole)

    null = NullScores.of(reference, distance, 300, 400, random)
    alarms = sum(
        null.p_value(distance(random.exponential(size=(300, 3))), 300) < 0.05 for _ in range(400)
    )

    assert alarms <= 38


def test_scores_make_up_for_sizes_and_for_windows_inside_the_reference() -> None:
    null = NullScores.of(
        np.zeros((30, 1)), lambda _: 1.0, size=10, draws=3, random=np.random.default_rng(0)
    )

    # 30 times 10 over 30 - 10.
    assert null.scores.tolist() == [15.0] * 3
    assert null.quantile(0.99) == 15.0
    # 30 * 10 / (30 + 10) = 7.5 of it: twice the distance is as far, and as far counts.
    assert null.p_value(2.0, 10) == 1.0
    assert null.p_value(2.1, 10) == 1 / 4


def test_a_reference_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="take at least 20 rows"):
        NullScores.of(np.zeros((19, 1)), lambda _: 0.0, 10, 1, np.random.default_rng(0))
