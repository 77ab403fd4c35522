"""Bayesian linear regression, by hand and against the normal equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent_core.functional import bayes


def _vector(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def _cold(dim: int, ridge: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(dim, dtype=torch.float64), bayes.prior_factor(dim, ridge)


def _assert_close(got: torch.Tensor, expected: list[float] | list[list[float]]) -> None:
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64))


def test_the_prior_is_as_wide_as_its_ridge_says() -> None:
    factor = bayes.prior_factor(2, ridge=4.0)

    _assert_close(factor @ factor.T, [[0.25, 0.0], [0.0, 0.25]])


def test_one_observation_in_two_dimensions() -> None:
    mean, factor = _cold(2)

    bayes.condition_(mean, factor, _vector(1.0, 1.0), _vector(3.0).squeeze())

    # Precision I + x x' = [[2, 1], [1, 2]], its inverse [[2, -1], [-1, 2]] / 3, times x * 3 = (3, 3).
    _assert_close(factor @ factor.T, [[2 / 3, -1 / 3], [-1 / 3, 2 / 3]])
    _assert_close(mean, [1.0, 1.0])


def test_a_second_observation_counts_on_top_of_the_first() -> None:
    mean, factor = _cold(2)

    bayes.condition_(mean, factor, _vector(1.0, 1.0), _vector(3.0).squeeze())
    bayes.condition_(mean, factor, _vector(1.0, 0.0), _vector(1.0).squeeze())

    # Precision [[3, 1], [1, 2]], inverse [[2, -1], [-1, 3]] / 5, moment (3 + 1, 3): (8 - 3, -4 + 9) / 5.
    _assert_close(factor @ factor.T, [[0.4, -0.2], [-0.2, 0.6]])
    _assert_close(mean, [1.0, 1.0])


def test_features_of_zero_change_nothing() -> None:
    mean, factor = _cold(2)

    bayes.condition_(mean, factor, _vector(0.0, 0.0), _vector(5.0).squeeze())

    _assert_close(factor, [[1.0, 0.0], [0.0, 1.0]])
    _assert_close(mean, [0.0, 0.0])


def test_forgetting_keeps_a_part_of_the_old_evidence() -> None:
    mean, factor = _cold(1)

    bayes.condition_(mean, factor, _vector(1.0), _vector(4.0).squeeze(), forgetting=0.5)
    bayes.condition_(mean, factor, _vector(1.0), _vector(1.0).squeeze(), forgetting=0.5)

    # Precision 1 -> 0.5 + 1 = 1.5 -> 0.75 + 1 = 1.75. Moment 0 -> 4 -> 2 + 1 = 3. Mean 3 / 1.75.
    _assert_close(factor @ factor.T, [[1 / 1.75]])
    _assert_close(mean, [3 / 1.75])


def test_forgetting_leaves_alone_what_new_evidence_says_nothing_about() -> None:
    mean, factor = _cold(2)

    for _ in range(1000):
        bayes.condition_(mean, factor, _vector(1.0, 0.0), _vector(1.0).squeeze(), forgetting=0.9)

    # Along the first axis the precision settles where p = 0.9 p + 1, so p = 10; the second keeps 1.
    _assert_close(factor @ factor.T, [[0.1, 0.0], [0.0, 1.0]])


_ROWS = st.integers(1, 12).flatmap(
    lambda count: hnp.arrays(np.float64, (count, 4), elements=st.floats(-3, 3))
)


@given(_ROWS, st.sampled_from([0.1, 1.0, 10.0]))
def test_one_by_one_and_all_at_once_agree(rows: np.ndarray, ridge: float) -> None:
    features, reward = torch.from_numpy(rows[:, :3]), torch.from_numpy(rows[:, 3])
    mean, factor = _cold(3, ridge)

    for x, y in zip(features, reward, strict=True):
        bayes.condition_(mean, factor, x, y)
    precision, moment = bayes.accumulate(
        ridge * torch.eye(3, dtype=torch.float64), _cold(3)[0], features, reward
    )
    batch_mean, batch_factor = bayes.ridge_solution(precision, moment)

    inverse = torch.linalg.inv(precision)
    torch.testing.assert_close(mean, inverse @ moment, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(factor @ factor.T, inverse, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(batch_mean, mean, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(batch_factor @ batch_factor.T, inverse, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("forgetting", [1.0, 0.99])
def test_ten_thousand_observations_leave_a_sound_posterior(forgetting: float) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(10_000, 5, dtype=torch.float64, generator=generator)
    weights = _vector(1.0, -2.0, 0.0, 3.0, 0.5)
    mean, factor = _cold(5, ridge=1e-3)

    for x in features:
        bayes.condition_(mean, factor, x, x @ weights, forgetting)

    torch.testing.assert_close(mean, weights, atol=1e-3, rtol=1e-3)
    deviations = torch.linalg.vector_norm(factor, dim=1)
    assert bool((deviations > 0).all())
    assert float(deviations.max()) < 0.5
