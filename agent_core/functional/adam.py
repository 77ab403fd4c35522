"""One step of AdamW (Loshchilov & Hutter 2019, algorithm 2), in place, over lists of tensors.

Two forms of the same step. `fused` is one kernel call, the fastest on its own. `spelled_out` is made of
elementary operations, which a compiler can merge with what comes before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch

_BETA_1: Final = 0.9
_BETA_2: Final = 0.999
_EPSILON: Final = 1e-8


@dataclass(frozen=True, slots=True)
class Rates:
    """`learning_rate`: above 0. `weight_decay`: share of each weight, times the rate, that a step takes off."""

    learning_rate: float
    weight_decay: float


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """`first`, `second`: running means of gradients and of their squares, a tensor for each of weights.
    `steps`: `[1]` float32, how many steps were taken."""

    first: Sequence[torch.Tensor]
    second: Sequence[torch.Tensor]
    steps: torch.Tensor


def fused(
    weights: Sequence[torch.Tensor],
    gradients: Sequence[torch.Tensor],
    moments: Moments,
    rates: Rates,
    refused: torch.Tensor,
) -> None:
    """Moves `weights` and `moments`; nothing where `refused`, `[1]` float, is 1."""
    moments.steps.add_(1 - refused)
    torch._fused_adamw_(
        list(weights),
        list(gradients),
        list(moments.first),
        list(moments.second),
        [],
        [moments.steps] * len(weights),
        lr=rates.learning_rate,
        beta1=_BETA_1,
        beta2=_BETA_2,
        weight_decay=rates.weight_decay,
        eps=_EPSILON,
        amsgrad=False,
        maximize=False,
        found_inf=refused,
    )


def spelled_out(
    weights: Sequence[torch.Tensor],
    gradients: Sequence[torch.Tensor],
    moments: Moments,
    rates: Rates,
    refused: torch.Tensor,
) -> None:
    """The same."""
    moments.steps.add_(1 - refused)
    is_refused, steps = refused.bool().squeeze(), moments.steps.squeeze()
    step_size = rates.learning_rate / (1 - _BETA_1**steps)
    scale = (1 - _BETA_2**steps).sqrt()
    for weight, gradient, first, second in zip(
        weights, gradients, moments.first, moments.second, strict=True
    ):
        new_first = first.lerp(gradient, 1 - _BETA_1)
        new_second = _BETA_2 * second + (1 - _BETA_2) * gradient.square()
        move = step_size * new_first / (new_second.sqrt() / scale + _EPSILON)
        decayed = weight * (1 - rates.learning_rate * rates.weight_decay)
        for kept, new in ((first, new_first), (second, new_second), (weight, decayed - move)):
            kept.copy_(torch.where(is_refused, kept, new))
