"""Temporal-difference targets. Letters: B transitions."""

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
