"""Errors of several critics at once. Letters: M critics, B transitions."""

from __future__ import annotations

import torch


def squared_loss(errors: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Scalar: for each critic the mean of weight * error^2, added up; `errors`: `[M, B]`, `weight`: `[B]`."""
    return (weight * errors.square()).mean(dim=1).sum()


def mean_error(errors: torch.Tensor) -> torch.Tensor:
    """`[B]`: the mean over critics of absolute errors `[M, B]`, detached."""
    return errors.detach().abs().mean(dim=0)
