"""The guarded optimizer step."""

from __future__ import annotations

import pytest
import torch

from agent_core.policy_learners.gradient import GradientStep


def _step(start: float, max_norm: float = 10.0) -> tuple[torch.nn.Parameter, GradientStep]:
    weight = torch.nn.Parameter(torch.tensor([start]))
    step = GradientStep({"w": weight}, learning_rate=0.1, weight_decay=0.0, max_norm=max_norm)
    return weight, step


def test_it_agrees_with_plain_adamw() -> None:
    weight, step = _step(1.0)
    reference = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = torch.optim.AdamW([reference], lr=0.1, weight_decay=0.0, fused=False)

    for _ in range(20):
        step.descend((weight**2).sum())
        optimizer.zero_grad()
        (reference**2).sum().backward()
        optimizer.step()

    torch.testing.assert_close(weight, reference)


def test_a_long_gradient_is_shortened_to_the_largest_norm() -> None:
    weight, step = _step(3.0, max_norm=0.5)

    metrics = step.descend((weight**2).sum())

    # The gradient is 6. Its first moment is a tenth of the shortened one.
    assert metrics["gradient_norm"] == 6.0
    assert step.training_state()["w.exp_avg"].item() == pytest.approx(0.05)


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_moves_nothing(factor: float) -> None:
    weight, step = _step(1.0)

    metrics = step.descend((weight * factor).sum())

    assert metrics == {"skipped_non_finite": 1.0}
    assert weight.item() == 1.0
    assert step.training_state() == {}


def test_loaded_moments_are_copies() -> None:
    weight, step = _step(1.0)
    step.descend((weight**2).sum())
    saved = {name: value.clone() for name, value in step.training_state().items()}
    other_weight, other = _step(1.0)

    other.load_training_state(saved)
    other.descend((other_weight**2).sum())

    assert saved["w.step"].item() == 1.0
    assert other.training_state()["w.step"].item() == 2.0
