"""Densities in many dimensions: exact where a double can hold them, never 0 or infinite where it cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from agent_core.functional.densities import (
    LARGEST_DENSITY,
    SMALLEST_DENSITY,
    density_of,
    is_beyond_densities,
    least_sigma,
    log_volume,
    uniform_density,
)
from agent_core.functional.gaussian import truncated_draw
from agent_core.functional.policy_gradient import log_of_propensity
from agent_core.types import Box, Doubles, Floats

_DIM = 64


def test_a_density_is_the_exponential_of_its_logarithm() -> None:
    assert density_of(math.log(7.5)) == pytest.approx(7.5, rel=1e-15)


@pytest.mark.parametrize(
    ("log_density", "nearer"),
    [(800.0, LARGEST_DENSITY), (-800.0, SMALLEST_DENSITY), (math.inf, LARGEST_DENSITY)],
)
def test_beyond_what_a_record_can_hold_the_nearer_end_stands(
    log_density: float, nearer: float
) -> None:
    assert density_of(log_density) == pytest.approx(nearer, rel=1e-12)
    assert is_beyond_densities(log_density)
    assert math.isfinite(1 / density_of(log_density))


def test_what_is_not_a_number_stays_so_and_is_told() -> None:
    assert math.isnan(density_of(math.nan))
    assert is_beyond_densities(math.nan)


def test_the_volume_of_a_box_is_the_product_of_its_sides() -> None:
    # Sides of 4 and 1/2.
    box = Box((-2.0, 0.0), (2.0, 0.5))

    assert log_volume(box) == pytest.approx(math.log(2))
    assert uniform_density(box) == pytest.approx(0.5)
    assert log_volume(Box((-1e308,), (1e308,))) == math.inf


def test_noise_at_the_least_sigma_has_the_largest_density_at_its_peak() -> None:
    # Half sides of 2 and 1/4: 1 / (2 pi * sigma * 2 * sigma / 4) = 1e300 with this sigma.
    sigma = least_sigma(Box((-2.0, 0.0), (2.0, 0.5)))

    assert -2 * math.log(sigma) - math.log(math.pi) == pytest.approx(300 * math.log(10))


def _noise(std: float, half: float, seed: int = 3) -> tuple[Floats, float, Doubles]:
    """One draw around 0, and how many deviations it is off."""
    low, high = (np.full(_DIM, side, np.float32) for side in (-half, half))
    mean, deviations = np.zeros(_DIM, np.float32), np.full(_DIM, std)
    action, density = truncated_draw(mean, deviations, low, high, seed)
    return action, density, action.astype(np.float64) / std


@pytest.mark.parametrize(("std", "half"), [(1e-4, 1.0), (0.05, 1.0), (50.0, 1e4), (1.0, 4.0)])
def test_in_64_dimensions_the_density_is_the_product_of_all(std: float, half: float) -> None:
    _, density, z = _noise(std, half)

    # Limits are 4 deviations away or more: a mass of 0.99994 each, or 1.
    mass = math.erf(half / std / math.sqrt(2))
    log_of_each = -0.5 * z**2 - math.log(std * mass) - 0.5 * math.log(2 * math.pi)
    assert math.log(density) == pytest.approx(math.fsum(log_of_each), rel=1e-12)


@pytest.mark.parametrize(("std", "half"), [(1e-9, 1e-6), (1e9, 1e12)])
def test_in_64_dimensions_no_draw_is_impossible_or_certain(std: float, half: float) -> None:
    densities = [_noise(std, half, seed)[1] for seed in range(20)]

    # 64 * log(1e9) = 1326 is more than the 709 that a double can hold.
    assert all(SMALLEST_DENSITY * 0.999 <= d <= LARGEST_DENSITY * 1.001 for d in densities)


def test_the_logarithm_of_a_density_that_no_float32_holds_is_exact() -> None:
    logs = log_of_propensity(torch.tensor([1e57, 1e-57], dtype=torch.float64))

    # 57 times the logarithm of 10, which is 2.302585.
    assert logs.dtype == torch.float32
    assert logs.tolist() == pytest.approx([131.2473, -131.2473], rel=1e-6)
