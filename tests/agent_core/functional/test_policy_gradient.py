"""Distributions over ragged sets and the clipped objective, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agent_core.functional.policy_gradient import (
    clipped_surrogate,
    entropies,
    expectations,
    log_of_propensity,
    log_probabilities,
    standardized,
)
from tests.support.learners import sets_of

_LN2, _LN3 = math.log(2), math.log(3)
_SETS = sets_of(2, 0, 3)


def test_log_probabilities_are_those_of_each_set_by_itself() -> None:
    # Weights 1 : 3, and 1 : 1 : 2.
    logits = torch.tensor([0.0, _LN3, 5.0, 5.0, 5.0 + _LN2])

    log_p = log_probabilities(logits, _SETS)

    torch.testing.assert_close(log_p.exp(), torch.tensor([0.25, 0.75, 0.25, 0.25, 0.5]))


def test_large_logits_do_not_overflow() -> None:
    log_p = log_probabilities(torch.tensor([1000.0, 0.0]), sets_of(2))

    assert log_p.tolist() == [0.0, -1000.0]


def test_entropies_are_in_nats_and_an_empty_set_has_none() -> None:
    # Even over two: ln 2. Even over three: ln 3.
    log_p = log_probabilities(torch.zeros(5), _SETS)

    torch.testing.assert_close(entropies(log_p, _SETS), torch.tensor([_LN2, 0.0, _LN3]))


def test_the_entropy_has_a_gradient() -> None:
    # For p = (1/4, 3/4): dH/dlogit = -p (ln p + H) and H = (ln 4) / 4 + (3/4) ln(4/3) = 2 ln 2 - (3/4) ln 3.
    # Of the first: -(1/4) (-2 ln 2 + 2 ln 2 - (3/4) ln 3) = (3/16) ln 3; of the second the opposite.
    logits = torch.tensor([0.0, _LN3], requires_grad=True)

    entropies(log_probabilities(logits, sets_of(2)), sets_of(2)).sum().backward()

    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor([3 / 16 * _LN3, -3 / 16 * _LN3]))


def test_an_empty_set_puts_no_nan_into_the_gradient() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, 0.0, 1.0], requires_grad=True)

    log_p = log_probabilities(logits, _SETS)
    (entropies(log_p, _SETS).sum() + log_p.sum()).backward()

    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_expectations_are_means_under_each_distribution() -> None:
    # 1/4 * 8 + 3/4 * 4, nothing, and the mean of 3, 6, 9.
    log_p = log_probabilities(torch.tensor([0.0, _LN3, 0.0, 0.0, 0.0]), _SETS)
    values = torch.tensor([8.0, 4.0, 3.0, 6.0, 9.0])

    means = expectations(values, log_p, _SETS)

    torch.testing.assert_close(means, torch.tensor([5.0, 0.0, 6.0]))


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_every_set_sums_to_one(sizes: list[int], seed: int) -> None:
    sets = sets_of(*sizes)
    logits = torch.randn(sum(sizes), generator=torch.Generator().manual_seed(seed)) * 10

    p = log_probabilities(logits, sets).exp()

    totals = torch.zeros(len(sizes)).index_add(0, sets.segments(), p)
    torch.testing.assert_close(totals, torch.ones(len(sizes)))


@pytest.mark.parametrize(
    ("ratio", "advantage", "gain", "slope"),
    [
        (1.0, 2.0, 2.0, 2.0),
        (1.1, 2.0, 2.2, 2.2),  # within the limits the gradient of the ratio is the ratio
        (1.5, 2.0, 2.4, 0.0),  # likelier than the limit allows: no more to gain
        (0.5, 2.0, 1.0, 1.0),  # less likely though good: may come back
        (0.5, -2.0, -1.6, 0.0),  # less likely than the limit allows: no more to gain
        (1.5, -2.0, -3.0, -3.0),  # likelier though bad: may come back
    ],
)
def test_the_surrogate_pays_for_no_move_beyond_the_limit(
    ratio: float, advantage: float, gain: float, slope: float
) -> None:
    log_ratio = torch.tensor([math.log(ratio)], requires_grad=True)

    surrogate = clipped_surrogate(log_ratio, torch.tensor([advantage]), clip=0.2)
    surrogate.sum().backward()

    assert log_ratio.grad is not None
    assert surrogate.item() == pytest.approx(gain)
    assert log_ratio.grad.item() == pytest.approx(slope)


def test_the_logarithm_of_a_propensity_that_float32_rounds_to_zero_is_finite() -> None:
    logs = log_of_propensity(torch.tensor([1.0, 0.5, 1e-60]))

    assert logs[:2].tolist() == pytest.approx([0.0, -_LN2])
    assert logs.isfinite().all()


def test_standardized_advantages_have_mean_zero_and_deviation_one() -> None:
    # 1, 3, 5, 7: mean 4, squared deviations 9, 1, 1, 9, deviation sqrt 5.
    result = standardized(torch.tensor([1.0, 3.0, 5.0, 7.0]))

    expected = torch.tensor([-3.0, -1.0, 1.0, 3.0]) / math.sqrt(5)
    torch.testing.assert_close(result, expected)
    assert standardized(torch.tensor([2.0, 2.0])).tolist() == [0.0, 0.0]
    assert standardized(torch.tensor([2.0])).tolist() == [0.0]
