"""Bayesian linear regression in square-root form. Letters: d features, B observations.

The posterior over weights is N(mean, factor @ factor.T), in units of the noise variance. Keeping the
factor instead of the covariance means that no covariance can lose positive definiteness to rounding,
and that scoring needs one product: the standard deviation of x is the norm of `x @ factor`.
All arguments and results are float64.
"""

from __future__ import annotations

import torch


def prior_factor(dim: int, ridge: float) -> torch.Tensor:
    """`[d, d]` factor of the prior N(0, I / ridge): before any data every direction is uncertain."""
    return torch.eye(dim, dtype=torch.float64).div(ridge**0.5)


def condition_(
    mean: torch.Tensor,
    factor: torch.Tensor,
    features: torch.Tensor,
    reward: torch.Tensor,
    forgetting: float = 1.0,
) -> None:
    """Takes one observation, `reward` at `features` `[d]`, into `mean` and `factor`, in place, O(d^2).

    Potter's square-root form of the Sherman-Morrison update: with f = factor.T @ x and v = f @ f,
    factor <- factor @ (I + c f f.T) where (1 + c v)^2 = 1 / (forgetting + v). The precision along x
    becomes forgetting * old + 1, and directions that x says nothing about keep theirs: the directional
    forgetting of Kulhavy 1987, under which the covariance cannot blow up where data stopped coming.

    `forgetting`: in (0, 1], the weight that older evidence keeps. Zero features change nothing.
    In place because the factor is the largest tensor around: a copy would double the cost.
    """
    projected = factor.T @ features
    left = factor @ projected
    variance = projected @ projected
    total = forgetting + variance
    scale = torch.where(variance > 0, (total.rsqrt() - 1) / variance, 0.0)
    mean += left * ((reward - features @ mean) / total)
    factor.addr_(left, scale * projected)


def accumulate(
    precision: torch.Tensor, moment: torch.Tensor, features: torch.Tensor, reward: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Precision `[d, d]` and moment `[d]` after a block: + X.T @ X and + X.T @ y.

    `features`: `[B, d]`. `reward`: `[B]`.
    """
    return precision + features.T @ features, moment + features.T @ reward


def ridge_solution(
    precision: torch.Tensor, moment: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The posterior `(mean [d], factor [d, d])` of a positive definite precision `[d, d]`.

    With precision = C @ C.T the factor is the inverse of C.T, because (C @ C.T)^-1 = C^-T @ C^-1.
    """
    lower = torch.linalg.cholesky(precision)
    identity = torch.eye(len(moment), dtype=precision.dtype, device=precision.device)
    factor = torch.linalg.solve_triangular(lower.T, identity, upper=True)
    return factor @ (factor.T @ moment), factor
