"""Densities of continuous actions as numbers that a record can hold.

A density is a product over dimensions, per unit of volume, and in 64 dimensions it may be more or less than a
double holds. So it is added up as a logarithm, and becomes a number once.
"""

from __future__ import annotations

import math

from agent_core.types import Box

SMALLEST_DENSITY, LARGEST_DENSITY = 1e-300, 1e300
"""Of these, the inverse is finite too. 0 would say that what was played was impossible, infinity that it was
not drawn."""


def density_of(log_density: float) -> float:
    """The density, or the nearer end of its range where it lies beyond; NaN stays NaN.

    The configuration check refuses boxes and noise whose densities would lie there as a rule.
    """
    # In this order a comparison with NaN keeps NaN.
    return math.exp(min(max(log_density, _LEAST), _MOST))


def log_volume(box: Box) -> float:
    """The logarithm of the volume; infinite where a side is more than a double holds."""
    return sum(math.log(high - low) for low, high in zip(box.low, box.high, strict=True))


def uniform_density(box: Box) -> float:
    """1 / volume, in the range of densities."""
    return density_of(-log_volume(box))


def is_beyond_densities(log_density: float) -> bool:
    """Whether `density_of` can only give the nearer end."""
    return not _LEAST <= log_density <= _MOST


def least_sigma(box: Box) -> float:
    """The smallest sigma of normal noise, in shares of half the box, whose density at its peak is in range."""
    log_peak_of_one = -0.5 * math.log(2 * math.pi) + math.log(2) - log_volume(box) / box.dim
    return math.exp(log_peak_of_one - _MOST / box.dim)


_LEAST, _MOST = math.log(SMALLEST_DENSITY), math.log(LARGEST_DENSITY)
