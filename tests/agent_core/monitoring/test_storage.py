from __future__ import annotations

import math

import numpy as np
import pytest

from agent_core.monitoring.bernstein import BernsteinSums
from agent_core.monitoring.confidence_sequences import Difference
from agent_core.monitoring.detectors import Cusum, EDetector, EProcess, Repeats
from agent_core.monitoring.evidence import Span
from agent_core.monitoring.histograms import Bins, Counts
from agent_core.monitoring.moments import ColumnMoments
from agent_core.monitoring.nulls import NullScores
from agent_core.monitoring.propensities import ActionCounts, EntropySums
from agent_core.monitoring.quantiles import QuantileSketch
from agent_core.monitoring.random_features import MeanEmbedding, RandomFeatures
from agent_core.monitoring.reservoir import Reservoir
from agent_core.monitoring.rewards import RewardSums
from agent_core.monitoring.storage import Stored
from tests.agent_core.monitoring.strategies import assert_comes_back

_ROWS = np.arange(12.0).reshape(6, 2)
_RANDOM = np.random.default_rng(0)
_MOMENTS = ColumnMoments.of(_ROWS)
_BINS = Bins.of(_ROWS, 3)


@pytest.mark.parametrize(
    "sums",
    [
        _MOMENTS,
        _BINS,
        Counts.of(_BINS, _ROWS),
        RandomFeatures.of(_ROWS, 4, _RANDOM),
        MeanEmbedding.of(_ROWS),
        NullScores.of(_ROWS, lambda rows: float(rows.sum()), 2, 5, _RANDOM),
        Reservoir.of(_ROWS, 3, _RANDOM),
        QuantileSketch.of(_ROWS[:, 0]),
        RewardSums.of(_ROWS, _ROWS.sum(1), np.full(3, -np.inf), np.full(3, 4.0)),
        ActionCounts(np.array([1, 2]), np.array([1.5, 1.5]), np.array([0.75, 0.75])),
        EntropySums(3, 1.5),
        Difference.of(_MOMENTS, _MOMENTS),
        BernsteinSums.start(0.05, 2).after(_ROWS, Span(0.0, 12.0)),
        Repeats.start(3, 5).after(is_bad=True),
        Cusum(4.0).after(np.ones(3)),
        EDetector(100.0),
        EProcess(0.01).after(np.ones(3)),
    ],
    ids=lambda sums: type(sums).__name__,
)
def test_sums_and_states_come_back_from_their_arrays(sums: Stored) -> None:
    assert_comes_back(sums)


def test_a_part_of_a_part_is_named_by_both() -> None:
    sums = RewardSums.of(_ROWS, _ROWS.sum(1), np.zeros(3), np.ones(3))

    arrays = sums.to_arrays()

    assert set(arrays) == {
        "columns.count",
        "columns.mean",
        "columns.scatter",
        "with_total",
        "outside",
    }
    assert arrays["columns.count"].shape == ()


def test_numbers_come_back_as_numbers() -> None:
    detector = EDetector.from_arrays(EDetector(100.0).to_arrays())

    assert type(detector.run_length) is float
    assert detector.log_value == -math.inf


def test_a_missing_field_is_named() -> None:
    with pytest.raises(KeyError, match="scatter"):
        ColumnMoments.from_arrays({"count": np.array(1), "mean": np.zeros(1)})
