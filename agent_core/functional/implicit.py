"""Learning from logged actions alone: Kostrikov et al. 2022. Letters: B transitions."""

from __future__ import annotations

import torch


def expectile_loss(
    differences: torch.Tensor, expectile: float, weight: torch.Tensor
) -> torch.Tensor:
    """The mean of weight * |expectile - 1(u < 0)| * u^2 (eq. 5).

    `differences`: `[B]`, u = Q(state, logged action) - V(state). `expectile`: in (0, 1); 0.5 is half the
    squared loss.
    """
    share = torch.where(differences < 0, 1 - expectile, expectile)
    return (weight * share * differences.square()).mean()


def preferences(advantage: torch.Tensor, inverse_temperature: float) -> torch.Tensor:
    """`[B]`: exp(inverse_temperature * advantage), what a logged action counts in imitation (eq. 7).

    Bounded by 100, as in the authors' implementation: else a few surprising rows would be all that is
    learned from. `advantage`: `[B]`, in units of the reward.
    """
    return (inverse_temperature * advantage).exp().clamp_max(_LARGEST)


def imitation_loss(
    log_p: torch.Tensor, preference: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """The mean of -weight * preference * the log-probability, or log-density, of the logged action (eq. 7);
    `[B]` each."""
    return -(weight * preference * log_p).mean()


_LARGEST = 100.0
