"""Distributions of returns as K equally likely quantiles. Letters: B transitions, I and J quantiles."""

from __future__ import annotations

import torch

from agent_core.types import Doubles, RiskMeasure


def midpoints(count: int) -> torch.Tensor:
    """`[K]`: (2i + 1) / 2K, where K quantiles lie closest to a distribution (Dabney et al. 2018, lemma 2)."""
    return (torch.arange(count) + 0.5) / count


def quantile_huber(
    predicted: torch.Tensor, taus: torch.Tensor, target: torch.Tensor, kappa: float
) -> torch.Tensor:
    """`[B]`: quantile regression of `predicted` `[B, I]` at `taus` `[I]` or `[B, I]` on `target` `[B, J]`.

    Dabney et al. 2018b, eq. 3: the sum over i of the mean over j of |tau_i - [u < 0]| * Huber(u) / kappa,
    where u = target_j - predicted_i and the Huber loss has its bend at `kappa` > 0, in units of the
    return. Where returns spread over less than that, what is learned are expectiles, not quantiles.
    """
    below = target.unsqueeze(1) - predicted.unsqueeze(2)
    huber = torch.nn.functional.huber_loss(
        below, torch.zeros_like(below), reduction="none", delta=kappa
    )
    tilt = (taus.unsqueeze(-1) - (below.detach() < 0).float()).abs()
    return (tilt * huber).mean(dim=2).sum(dim=1) / kappa


def worth(quantiles: torch.Tensor, risk: RiskMeasure | None) -> torch.Tensor:
    """`[...]`: what `quantiles` `[..., K]`, in any order, are worth; the mean where `risk` is None."""
    return quantiles.mean(-1) if risk is None else risk.of(quantiles.sort(-1).values)


def worth_numpy(quantiles: Doubles, risk: RiskMeasure | None) -> Doubles:
    """`[A]`: the same for `[A, K]` in numpy."""
    if risk is None:
        mean: Doubles = quantiles.mean(axis=1)
        return mean
    ordered = quantiles.copy()
    ordered.sort(axis=1)
    return risk.of_numpy(ordered)
