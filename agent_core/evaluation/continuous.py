"""Continuous actions: what a deterministic target policy would have earned, from actions near to its own.

No logged action is exactly the target's, so those near it count, by a triangular kernel of some bandwidth: biased, and the
less so the narrower; `slope` chooses. The weights go where ratios go: `terms.importance`, or with a model
of the target's action as both `taken` and `expected`, `terms.doubly_robust` (Kallus & Zhou 2018). Letters:
T decisions, D dimensions. A target policy with a density needs no kernel: its ratio is that of two densities.
"""

from __future__ import annotations

import numpy as np

from agent_core.types import Doubles


def kernel_weights(
    action: Doubles, target: Doubles, density: Doubles, bandwidth: Doubles
) -> Doubles:
    """`[T]`: a product of kernels around the target's action, over the density of what was done.

    `action`, `target`: `[T, D]`, what was done and what the target policy does. `density`: `[T]` of what was
    done, per unit of volume, above 0. `bandwidth`: `[D]` above 0, in units of the actions.
    """
    near: Doubles = triangular((target - action) / bandwidth)
    # As logarithms: in many dimensions the product over all of them is more, or less, than a double holds.
    with np.errstate(divide="ignore"):  # out of a kernel's reach nothing counts: minus infinity
        log_weight = np.log(near).sum(1) - np.log(bandwidth).sum() - np.log(density)
    weights: Doubles = np.exp(log_weight)
    return weights


def triangular(distance: Doubles) -> Doubles:
    """A symmetric density that integrates to 1, of distances in bandwidths, of any shape."""
    hill: Doubles = np.maximum(1 - np.abs(distance), 0.0)
    return hill
