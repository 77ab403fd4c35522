"""Temporal-difference targets and losses. Letters: B transitions."""

from __future__ import annotations

import torch


def one_step_target(
    reward: torch.Tensor, bootstraps: torch.Tensor, next_value: torch.Tensor, discount: float
) -> torch.Tensor:
    """`[B]` targets: reward + discount * bootstraps * next_value (Sutton & Barto 2018, eq. 6.2).

    `reward`, `next_value`: `[B]`. `bootstraps`: `[B]`, 1 where the next state's value counts, 0 after
    a terminal step. `discount`: in [0, 1].
    """
    return reward + discount * bootstraps * next_value


def huber(error: torch.Tensor, delta: float = 1.0) -> torch.Tensor:
    """Elementwise error^2 / 2 up to |error| = `delta`, then delta * (|error| - delta / 2).

    The gradient is bounded by `delta`, so one surprising reward cannot throw the network off.
    """
    size = error.abs()
    quadratic = size.clamp(max=delta)
    return 0.5 * quadratic.square() + delta * (size - quadratic)
