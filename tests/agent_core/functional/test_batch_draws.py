"""Numbers that belong to a batch."""

from __future__ import annotations

import torch

from agent_core.functional.batch_draws import batch_keys, normals


def test_the_same_batch_has_the_same_keys_and_another_batch_has_others() -> None:
    batch = torch.tensor([5, -7, 2**62])

    assert torch.equal(batch_keys(batch), batch_keys(batch.clone()))
    assert not (batch_keys(batch)[:2] == batch_keys(batch[:2])).any()


def test_a_row_that_is_twice_in_a_batch_has_two_keys() -> None:
    first, second = batch_keys(torch.tensor([3, 3])).tolist()

    assert first != second


def test_normals_have_the_mean_the_variance_and_the_tails_of_a_normal_distribution() -> None:
    # 100,000 numbers: standard errors are 0.0032 of the mean, 0.0045 of the variance, 0.00067 of the
    # share beyond 2, which is 0.0455, and 0.0032 of a correlation.
    drawn = normals(torch.arange(10_000), 10)

    assert drawn.dtype == torch.float32
    assert abs(float(drawn.mean())) < 0.015
    assert abs(float(drawn.var()) - 1.0) < 0.02
    assert abs(float((drawn.abs() > 2).float().mean()) - 0.0455) < 0.003
    assert abs(float(torch.corrcoef(drawn[:, :2].T)[0, 1])) < 0.04


def test_a_key_has_its_normals_wherever_it_stands() -> None:
    together = normals(torch.tensor([5, -7]), 4)

    assert torch.equal(normals(torch.tensor([-7]), 2)[0], together[1, :2])
