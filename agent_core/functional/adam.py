"""One step of AdamW (Loshchilov & Hutter 2019, algorithm 2), in place, on all weights as one tensor.

Two forms of the same step. `fused` is one kernel call, the fastest on its own. `spelled_out` is made of
elementary operations, which a compiler can merge with what comes before and after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch

_BETA_1: Final = 0.9
_BETA_2: Final = 0.999
_EPSILON: Final = 1e-8


@dataclass(frozen=True, slots=True)
class Rates:
    """`learning_rate`: 0 or more. `weight_decay`: share of each weight, times the rate, that a step takes off."""

    learning_rate: float
    weight_decay: float


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """`first`, `second`: `[P]`, running means of gradients and of their squares. `steps`: `[1]` float32, how
    many steps were taken."""

    first: torch.Tensor
    second: torch.Tensor
    steps: torch.Tensor


def fused(
    weights: torch.Tensor,
    gradient: torch.Tensor,
    moments: Moments,
    rates: Rates,
    refused: torch.Tensor,
) -> None:
    """Moves `weights` `[P]` and `moments` by `gradient` `[P]`; nothing where `refused`, `[1]` float, is 1."""
    moments.steps.add_(1 - refused)
    torch._fused_adamw_(
        [weights],
        [gradient],
        [moments.first],
        [moments.second],
        [],
        [moments.steps],
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
    weights: torch.Tensor,
    gradient: torch.Tensor,
    moments: Moments,
    rates: Rates,
    refused: torch.Tensor,
) -> None:
    """The same."""
    moments.steps.add_(1 - refused)
    is_refused, steps = refused.bool().squeeze(), moments.steps.squeeze()
    step_size = rates.learning_rate / (1 - _BETA_1**steps)
    scale = (1 - _BETA_2**steps).sqrt()
    first = moments.first.lerp(gradient, 1 - _BETA_1)
    second = _BETA_2 * moments.second + (1 - _BETA_2) * gradient.square()
    move = step_size * first / (second.sqrt() / scale + _EPSILON)
    decayed = weights * (1 - rates.learning_rate * rates.weight_decay)
    changes = ((moments.first, first), (moments.second, second), (weights, decayed - move))
    for kept, new in changes:
        kept.copy_(torch.where(is_refused, kept, new))
