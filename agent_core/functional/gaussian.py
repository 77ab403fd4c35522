"""Gaussians on a box: squashed into it by tanh, or cut off at its limits. Letters: B batch, D dimensions.

A Gaussian that is clipped to a box puts whole probabilities on its limits, where no density exists. Both
forms here have an exact density everywhere in the box. Densities in torch are over the unit box [-1, 1]^D,
those of draws are per unit of volume of the box in question.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import torch

from agent_core.functional.choice import uniform_from
from agent_core.functional.densities import density_of
from agent_core.types import Doubles, Floats

LOG_STD_RANGE = (-5.0, 2.0)
"""Standard deviations from 0.0067 to 7.4, in a box of half-width 1."""


def bounded_log_std(raw: torch.Tensor) -> torch.Tensor:
    """Any number to `LOG_STD_RANGE`, smoothly: a clamp would have no gradient that leads back."""
    low, high = LOG_STD_RANGE
    return low + 0.5 * (high - low) * (raw.tanh() + 1)


def raw_of_std(std: float) -> float:
    """The number that `bounded_log_std` takes to log(`std`)."""
    low, high = LOG_STD_RANGE
    return math.atanh(2 * (math.log(std) - low) / (high - low) - 1)


def squashed_log_density(
    before: torch.Tensor, mean: torch.Tensor, log_std: torch.Tensor
) -> torch.Tensor:
    """`[B]`: log-density of tanh(`before`) over the unit box, where `before` is normal.

    All `[B, D]`. Haarnoja et al. 2018, eq. 21, with log(1 - tanh(u)^2) as
    2 (log 2 - u - softplus(-2 u)), which does not lose its digits where tanh is close to 1.
    """
    normal = _log_normal((before - mean) / log_std.exp()) - log_std
    slope = 2 * (_LOG_2 - before - torch.nn.functional.softplus(-2 * before))
    density: torch.Tensor = (normal - slope).sum(dim=1)
    return density


def truncated_log_density(
    unit: torch.Tensor, mean: torch.Tensor, log_std: torch.Tensor
) -> torch.Tensor:
    """`[B]`: log-density at `unit` of a Gaussian cut off at the limits of the unit box.

    All `[B, D]` (`log_std` may be `[D]`); `unit` and `mean` lie in the box, so the mass that is left is
    never close to 0.
    """
    left, right = _scaled_limits(mean, log_std)
    mass = torch.special.ndtr(right) - torch.special.ndtr(left)
    each = _log_normal((unit - mean) / log_std.exp()) - log_std - mass.log()
    density: torch.Tensor = each.sum(dim=1)
    return density


def truncated_entropy(mean: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
    """`[B]`: differential entropy of the same distribution; log(2) for each dimension at most.

    With left and right limits l, r in standard deviations and the mass Z between them, a dimension has
    log(sqrt(2 pi e) std Z) + (l phi(l) - r phi(r)) / (2 Z) (Johnson, Kotz & Balakrishnan 1994, ch. 13).
    """
    left, right = _scaled_limits(mean, log_std)
    mass = torch.special.ndtr(right) - torch.special.ndtr(left)
    edges = left * _log_normal(left).exp() - right * _log_normal(right).exp()
    each = 0.5 - _LOG_NORMAL_PEAK + log_std + mass.log() + edges / (2 * mass)
    entropy: torch.Tensor = each.sum(dim=1)
    return entropy


def squashed_draw(
    mean: Sequence[float], log_std: Sequence[float], seed: int
) -> tuple[Doubles, float]:
    """A point of the unit box `[D]`, and the log of its density there; D numbers in, all from `seed`."""
    point, log_density = np.empty(len(mean)), 0.0
    for i, uniform in enumerate(_uniforms(seed, len(mean))):
        z = _inverse(uniform)
        before = mean[i] + math.exp(log_std[i]) * z
        slope = 2 * (_LOG_2 - before - _softplus(-2 * before))
        log_density += _LOG_NORMAL_PEAK - 0.5 * z * z - log_std[i] - slope
        point[i] = math.tanh(before)
    return point, log_density


def truncated_draw(
    mean: Floats, std: Doubles, low: Floats, high: Floats, seed: int
) -> tuple[Floats, float]:
    """A point `[D]` of the box from `low` to `high`, and its density per unit of volume.

    All `[D]`, `mean` in the box. By the inverse of the distribution function, which wastes no draw. The
    density is that of the float32 numbers returned.
    """
    point, log_mass = np.empty(len(mean)), 0.0
    each = zip(mean.tolist(), std.tolist(), low.tolist(), high.tolist(), strict=True)
    for i, (m, s, lowest, highest) in enumerate(each):
        left, right = _cdf((lowest - m) / s), _cdf((highest - m) / s)
        uniform = uniform_from(_stream(seed, i))
        point[i] = m + s * _inverse(left + uniform * (right - left))
        log_mass += math.log(right - left)
    played = point.astype(np.float32).clip(low, high)
    z = (played - mean.astype(np.float64)) / std
    log_density = (_LOG_NORMAL_PEAK - 0.5 * z * z - np.log(std)).sum() - log_mass
    return played, density_of(float(log_density))


_LOG_2 = math.log(2)
_LOG_NORMAL_PEAK = -0.5 * math.log(2 * math.pi)
_SMALLEST, _LARGEST = 2.0**-1000, 1 - 2.0**-53
_GOLDEN = 0x9E37_79B9_7F4A_7C15
_STANDARD = NormalDist()


def _log_normal(z: torch.Tensor) -> torch.Tensor:
    return _LOG_NORMAL_PEAK - 0.5 * z.square()


def _scaled_limits(mean: torch.Tensor, log_std: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    inverse = (-log_std).exp()
    return (-1 - mean) * inverse, (1 - mean) * inverse


def _stream(seed: int, position: int) -> int:
    """The state of splitmix64 after `position` steps from `seed`."""
    return (seed + position * _GOLDEN) % 2**64


def _uniforms(seed: int, count: int) -> list[float]:
    return [uniform_from(_stream(seed, i)) for i in range(count)]


def _cdf(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


def _inverse(probability: float) -> float:
    """The standard normal quantile; 0 and 1, which rounding can give, stand for their neighbours."""
    # In this order NaN becomes a number: the caller's other terms are NaN then, and it is told.
    return _STANDARD.inv_cdf(min(_LARGEST, max(_SMALLEST, probability)))


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
