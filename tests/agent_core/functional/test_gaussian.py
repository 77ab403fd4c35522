"""Densities on a box, by hand and by adding them up."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from agent_core.functional.gaussian import (
    LOG_STD_RANGE,
    bounded_log_std,
    raw_of_std,
    squashed_draw,
    squashed_log_density,
    truncated_draw,
    truncated_entropy,
    truncated_log_density,
)
from agent_core.types import Floats

_F32 = np.float32


def _column(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers).reshape(-1, 1)


def _unit_grid(count: int = 200_001) -> torch.Tensor:
    return torch.linspace(-1, 1, count, dtype=torch.float64).reshape(-1, 1)


def test_a_truncated_density_by_hand() -> None:
    # Mean 0 and deviation 1 leave 0.6826895 between -1 and 1; phi(0) is 0.3989423.
    density = truncated_log_density(_column(0.0), _column(0.0), torch.zeros(1)).exp()

    assert density.item() == pytest.approx(0.3989423 / 0.6826895, rel=1e-6)


def test_a_squashed_density_by_hand() -> None:
    # At 0 the slope of tanh is 1: phi(0) / 2 for a deviation of 2.
    # At tanh(1) the slope is 1 - 0.7615942^2 = 0.4199743: phi(1) = 0.2419707 over it.
    flat = squashed_log_density(_column(0.0), _column(0.0), _column(math.log(2)))
    steep = squashed_log_density(_column(1.0), _column(0.0), _column(0.0))

    assert flat.exp().item() == pytest.approx(0.3989423 / 2, rel=1e-6)
    assert steep.exp().item() == pytest.approx(0.2419707 / 0.4199743, rel=1e-5)


@pytest.mark.parametrize("mean", [-1.0, -0.3, 0.9])
@pytest.mark.parametrize("log_std", [-3.0, -1.0, 2.0])
def test_a_truncated_density_adds_up_to_one(mean: float, log_std: float) -> None:
    unit = _unit_grid()

    log_density = truncated_log_density(
        unit, torch.full_like(unit, mean), torch.tensor([log_std], dtype=torch.float64)
    )

    assert torch.trapezoid(log_density.exp(), unit[:, 0]).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, -0.7), (-0.8, -1.0), (0.5, -2.0)])
def test_a_squashed_density_adds_up_to_one(mean: float, log_std: float) -> None:
    unit = _unit_grid()[1:-1]
    before = unit.atanh()

    log_density = squashed_log_density(
        before, torch.full_like(unit, mean), torch.full_like(unit, log_std)
    )

    assert torch.trapezoid(log_density.exp(), unit[:, 0]).item() == pytest.approx(1, abs=1e-4)


def test_the_density_of_several_dimensions_is_the_product() -> None:
    mean, log_std = torch.tensor([[0.1, -0.4]]), torch.tensor([-1.0, 0.3])
    unit = torch.tensor([[0.2, 0.7]])

    both = truncated_log_density(unit, mean, log_std)

    each = [truncated_log_density(unit[:, i : i + 1], mean[:, i : i + 1], log_std[i : i + 1])
            for i in range(2)]  # fmt: skip
    torch.testing.assert_close(both, each[0] + each[1])


def test_far_out_the_slope_of_tanh_keeps_its_digits() -> None:
    # 1 - tanh(20)^2 is 4 exp(-40) to 17 digits, where tanh(20) itself rounds to 1.
    density = squashed_log_density(_column(20.0), _column(20.0), _column(0.0))

    assert density.item() == pytest.approx(-0.9189385 - (math.log(4) - 40), rel=1e-6)


@pytest.mark.parametrize("mean", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("log_std", [-2.0, 0.0])
def test_entropy_is_the_mean_of_minus_the_log_density(mean: float, log_std: float) -> None:
    unit, deviation = _unit_grid(), torch.tensor([log_std], dtype=torch.float64)
    log_density = truncated_log_density(unit, torch.full_like(unit, mean), deviation)

    entropy = truncated_entropy(torch.tensor([[mean]], dtype=torch.float64), deviation)

    added_up = torch.trapezoid(-log_density.exp() * log_density, unit[:, 0])
    assert entropy.item() == pytest.approx(added_up.item(), abs=1e-5)


def test_the_widest_distribution_has_nearly_the_entropy_of_the_uniform_one() -> None:
    entropy = truncated_entropy(torch.zeros(1, 3), torch.full((3,), LOG_STD_RANGE[1]))

    assert entropy.item() == pytest.approx(3 * math.log(2), abs=1e-3)


def test_standard_deviations_stay_in_their_range_and_can_come_back() -> None:
    raw = torch.tensor([-100.0, 0.0, 100.0, raw_of_std(0.5)], requires_grad=True)

    log_std = bounded_log_std(raw)

    low, high = LOG_STD_RANGE
    assert log_std[:3].tolist() == [low, (low + high) / 2, high]
    assert log_std[3].exp().item() == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize("seed", [0, 2**64 - 1])
def test_a_draw_is_a_function_of_its_seed(seed: int) -> None:
    first = squashed_draw([0.1, -0.2], [0.0, -1.0], seed)
    again = squashed_draw([0.1, -0.2], [0.0, -1.0], seed)

    assert first[0].tobytes() == again[0].tobytes()
    assert first[1] == again[1]
    assert squashed_draw([0.1, -0.2], [0.0, -1.0], 5)[1] != first[1]


def test_the_dimensions_of_a_draw_are_independent() -> None:
    points = np.array([squashed_draw([0.0, 0.0], [-1.0, -1.0], seed)[0] for seed in range(4000)])

    # A correlation of 4000 independent pairs has a standard error of 0.016.
    assert abs(np.corrcoef(points.T)[0, 1]) < 0.06


def test_the_density_of_a_squashed_draw_is_that_of_the_formula() -> None:
    mean, log_std = [0.4, -1.2], [-0.5, 0.3]

    for seed in range(50):
        point, log_density = squashed_draw(mean, log_std, seed)
        before = torch.from_numpy(point).atanh().reshape(1, 2)
        formula = squashed_log_density(before, torch.tensor([mean]), torch.tensor([log_std]))
        assert log_density == pytest.approx(formula.item(), abs=1e-5)


def _draws(count: int, mean: float, std: float) -> tuple[Floats, Floats]:
    low, high = np.array([1.0], _F32), np.array([3.0], _F32)
    drawn = [
        truncated_draw(np.array([mean], _F32), np.array([std]), low, high, seed * 7919)
        for seed in range(count)
    ]
    return np.concatenate([d[0] for d in drawn]), np.array([d[1] for d in drawn], _F32)


@pytest.mark.parametrize(("mean", "std"), [(2.0, 0.3), (1.0, 1.0), (2.9, 5.0), (3.0, 0.01)])
def test_truncated_draws_fall_where_their_density_says(mean: float, std: float) -> None:
    points, densities = _draws(4000, mean, std)

    # Unit boxes have their middle at 2 and reach 1 here: numbers and densities carry over.
    unit = torch.from_numpy(points.astype(np.float64) - 2).reshape(-1, 1)
    grid = _unit_grid()
    log_std = torch.tensor([math.log(std)], dtype=torch.float64)
    on_grid = truncated_log_density(grid, torch.full_like(grid, mean - 2), log_std).exp()
    at_points = truncated_log_density(unit, torch.full_like(unit, mean - 2), log_std).exp()
    np.testing.assert_allclose(densities, at_points, rtol=1e-4)
    assert points.min() >= 1.0
    assert points.max() <= 3.0
    below = torch.cumulative_trapezoid(on_grid, grid[:, 0])
    shares = np.interp(np.sort(unit.numpy()[:, 0]), grid[1:, 0].numpy(), below.numpy())
    # Kolmogorov's distance; 0.031 is exceeded once in a thousand samples of 4000.
    assert np.abs(shares - np.linspace(0, 1, len(shares))).max() < 0.031
