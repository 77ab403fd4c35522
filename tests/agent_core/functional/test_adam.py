"""AdamW in both of its forms, against torch's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from agent_core.functional.adam import Moments, Rates, fused, spelled_out

_Step = Callable[[torch.Tensor, torch.Tensor, Moments, Rates, torch.Tensor], None]
_FORMS = pytest.mark.parametrize("form", [fused, spelled_out], ids=["fused", "spelled out"])
_RATES = Rates(learning_rate=0.1, weight_decay=0.5)
_SIZE = 10
_TAKEN, _REFUSED = torch.zeros(1), torch.ones(1)


def _numbers(seed: int) -> torch.Tensor:
    return torch.randn(_SIZE, generator=torch.Generator().manual_seed(seed))


def _moments() -> Moments:
    return Moments(torch.zeros(_SIZE), torch.zeros(_SIZE), torch.zeros(1))


@_FORMS
def test_the_first_step_is_the_learning_rate_against_the_sign_of_the_gradient(form: _Step) -> None:
    weight, moments = torch.tensor([4.0]), Moments(torch.zeros(1), torch.zeros(1), _TAKEN + 0)

    form(weight, torch.tensor([8.0]), moments, _RATES, _TAKEN)

    # The decay takes off 0.1 * 0.5 * 4; both means, made up for their start at 0, are 8 and 8^2.
    assert weight.item() == pytest.approx(4 - 0.2 - 0.1)
    assert moments.first[0].item() == pytest.approx(0.8)
    assert moments.second[0].item() == pytest.approx(0.064)
    assert moments.steps.item() == 1


@_FORMS
def test_it_agrees_with_adamw_of_torch_over_several_steps(form: _Step) -> None:
    weights, moments = _numbers(0), _moments()
    reference = torch.nn.Parameter(weights.clone())
    optimizer = torch.optim.AdamW([reference], lr=0.1, weight_decay=0.5, eps=1e-8)

    for seed in range(1, 6):
        form(weights, _numbers(seed), moments, _RATES, _TAKEN)
        reference.grad = _numbers(seed)
        optimizer.step()

    torch.testing.assert_close(weights, reference.detach())


@_FORMS
@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1.0])
def test_a_refused_step_moves_nothing_whatever_the_gradient(form: _Step, number: float) -> None:
    weights, moments = _numbers(0), _moments()
    form(weights, _numbers(1), moments, _RATES, _TAKEN)
    everything = [weights, moments.first, moments.second, moments.steps]
    before = [one.clone() for one in everything]

    form(weights, torch.full_like(weights, number), moments, _RATES, _REFUSED)

    assert all(torch.equal(one, was) for one, was in zip(everything, before, strict=True))
