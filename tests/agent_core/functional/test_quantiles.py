"""Quantile regression by hand."""

from __future__ import annotations

import numpy as np
import torch

from agent_core.functional.quantiles import midpoints, quantile_huber, worth, worth_numpy
from agent_core.safety.risk import CvarConfig


def test_midpoints_halve_equal_shares() -> None:
    assert midpoints(4).tolist() == [0.125, 0.375, 0.625, 0.875]


def test_the_loss_is_the_tilted_huber_loss_averaged_over_targets_and_summed_over_quantiles() -> (
    None
):
    # Quantiles 0 and 2 at 0.25 and 0.75, targets 1 and -3.
    # At 0: u = 1 gives 0.25 * 0.5; u = -3 gives 0.75 * (3 - 0.5). Mean (0.125 + 1.875) / 2 = 1.
    # At 2: u = -1 gives 0.25 * 0.5; u = -5 gives 0.25 * (5 - 0.5). Mean (0.125 + 1.125) / 2 = 0.625.
    predicted, target = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, -3.0]])

    assert quantile_huber(predicted, torch.tensor([0.25, 0.75]), target, 1.0).tolist() == [1.625]


def test_each_row_may_have_its_own_probabilities() -> None:
    # Only u = 1: tau * 0.5.
    predicted, target = torch.zeros(2, 1), torch.ones(2, 1)

    losses = quantile_huber(predicted, torch.tensor([[0.5], [1.0]]), target, 1.0)

    assert losses.tolist() == [0.25, 0.5]


def test_a_small_kappa_leaves_the_tilted_absolute_error() -> None:
    # u = 3 at 0.25: 0.25 * (3 - 0.25 / 2). The bend is at 0.25, and the slope beyond it is one.
    loss = quantile_huber(torch.zeros(1, 1), torch.tensor([0.25]), torch.tensor([[3.0]]), 0.25)

    assert loss.tolist() == [0.25 * 2.875]


def test_without_a_risk_measure_the_mean_counts_and_order_never_does() -> None:
    cvar = CvarConfig(alpha=0.5).risk()
    quantiles = torch.tensor([[4.0, 1.0, 3.0, 0.0]])

    # The mean is 8 / 4. The worse half is 0 and 1.
    assert worth(quantiles, None).tolist() == [2.0]
    assert worth(quantiles, cvar).tolist() == [0.5]
    assert worth_numpy(quantiles.double().numpy(), None).tolist() == [2.0]
    assert worth_numpy(quantiles.double().numpy(), cvar).tolist() == [0.5]


def test_ordering_quantiles_leaves_the_given_ones_alone() -> None:
    quantiles = np.array([[2.0, 1.0]])

    worth_numpy(quantiles, CvarConfig().risk())

    assert quantiles.tolist() == [[2.0, 1.0]]
