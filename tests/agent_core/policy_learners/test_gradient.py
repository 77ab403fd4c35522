"""The guarded optimizer step."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agent_core.policy_learners.gradient import GradientStep, Step
from agent_core.policy_learners.weights import Weights
from tests.support.learners import fingerprint


def _step(start: float, max_norm: float = 10.0) -> GradientStep:
    """Of a single weight."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, start)
    return GradientStep(Weights(network), learning_rate=0.1, weight_decay=0.0, max_norm=max_norm)


def _descend(step: GradientStep, factor: float = 1.0, after: Step | None = None) -> Step:
    """Down the square of the weight."""
    (weight,) = step.weights._parameters()
    return step.descend(factor * weight.square().sum(), after)


def test_it_agrees_with_plain_adamw() -> None:
    step, reference = _step(1.0), nn.Parameter(torch.tensor([1.0]))
    optimizer = torch.optim.AdamW([reference], lr=0.1, weight_decay=0.0)

    for _ in range(20):
        _descend(step)
        optimizer.zero_grad()
        (reference**2).sum().backward()
        optimizer.step()

    torch.testing.assert_close(step.weights.flat, reference.detach())


def test_a_step_is_as_long_as_the_learning_rate_however_many_came_before() -> None:
    # Where the gradient stays the same, 1, both moments say so once their bias is taken out: 1 / sqrt(1).
    # So each step is 0.1 long, and nothing but the number of steps says how far the weight has come.
    step = _step(0.0)
    (weight,) = step.weights._parameters()

    for _ in range(200):
        step.descend(weight.sum())

    assert step.weights.flat.item() == pytest.approx(-200 * 0.1, rel=1e-4)


def test_a_long_gradient_is_shortened_to_the_largest_norm() -> None:
    step = _step(3.0, max_norm=0.5)

    metrics, moved = _descend(step)

    # The gradient is 6. Its first moment is a tenth of the shortened one.
    assert metrics == {"loss": 9.0, "gradient_norm": 6.0, "skipped_non_finite": 0.0}
    assert moved == 1
    assert step.training_state()["moments"][0].item() == pytest.approx(0.05)


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_moves_nothing(factor: float) -> None:
    step = _step(1.0)
    _descend(step)
    before = step.weights.flat.item(), fingerprint(step.training_state())

    metrics, moved = _descend(step, factor)

    assert metrics["skipped_non_finite"] == 1
    assert moved == 0
    assert (step.weights.flat.item(), fingerprint(step.training_state())) == before


def test_a_step_is_refused_with_the_one_that_it_comes_after_and_so_is_the_next() -> None:
    first, second, third = _step(1.0), _step(1.0), _step(1.0)

    bad = _descend(first, float("nan"))
    last = _descend(third, after=_descend(second, after=bad))

    assert last.metrics["skipped_non_finite"] == 1
    assert second.weights.flat.item() == third.weights.flat.item() == 1.0
    assert not second.training_state()["moments"].any()


def test_a_step_is_taken_after_one_that_was_taken() -> None:
    step = _step(1.0)

    assert _descend(step, after=_descend(_step(1.0))).moved == 1
    assert step.weights.flat.item() != 1.0


def test_loaded_moments_are_copies() -> None:
    step, other = _step(1.0), _step(1.0)
    _descend(step)
    saved = {name: value.clone() for name, value in step.training_state().items()}

    other.load_training_state(saved)
    _descend(other)

    assert saved["steps"].item() == 1.0
    assert other.training_state()["steps"].item() == 2.0


def test_rebased_it_takes_the_same_step_on_what_it_was_given() -> None:
    step, rebased = _step(1.0), _step(1.0)
    untouched = rebased.weights.flat
    given = [[tensor.clone() for tensor in part.state] for part in (rebased.weights, rebased)]
    rebased.weights.rebase(given[0])
    rebased.rebase(given[1])

    for _ in range(3):
        _descend(step)
        _descend(rebased)

    torch.testing.assert_close([one.detach() for one in given[0]], step.weights.state)
    torch.testing.assert_close(given[1], step.state)
    assert untouched.item() == 1.0
