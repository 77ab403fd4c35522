"""Continuous actions: what a deterministic target policy would have earned, from actions near to its own.

No logged action is exactly the target's, so those near it count, by a kernel of some bandwidth: biased, and the
less so the narrower; `slope` chooses. The weights go where ratios go: `terms.importance`, or with a model
of the target's action as both `taken` and `expected`, `terms.doubly_robust` (Kallus & Zhou 2018). Letters:
T decisions, D dimensions. A target policy with a density needs no kernel: its ratio is that of two densities.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from agent_core.types import Doubles

Kernel: TypeAlias = Callable[[Doubles], Doubles]
"""From distances in bandwidths, of any shape, to densities that are symmetric and integrate to 1."""


def kernel_weights(
    action: Doubles, target: Doubles, density: Doubles, kernel: Kernel, bandwidth: Doubles
) -> Doubles:
    """`[T]`: a product of kernels around the target's action, over the density of what was done.

    `action`, `target`: `[T, D]`, what was done and what the target policy does. `density`: `[T]` of what was
    done, per unit of volume, above 0. `bandwidth`: `[D]` above 0, in units of the actions.
    """
    near: Doubles = kernel((target - action) / bandwidth) / bandwidth
    weights: Doubles = near.prod(1) / density
    return weights


def triangular(distance: Doubles) -> Doubles:
    hill: Doubles = np.maximum(1 - np.abs(distance), 0.0)
    return hill


def epanechnikov(distance: Doubles) -> Doubles:
    return 0.75 * np.maximum(1 - distance**2, 0.0)


def cosine(distance: Doubles) -> Doubles:
    hill = math.pi / 4 * np.cos(math.pi / 2 * distance)
    return np.where(np.abs(distance) <= 1, hill, 0.0)


def gaussian(distance: Doubles) -> Doubles:
    density: Doubles = np.exp(-0.5 * distance**2) / math.sqrt(2 * math.pi)
    return density
