"""Actors and critics of a box: their units, and what reaches them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from agent_core.networks.box import (
    BoxActor,
    BoxCritics,
    BoxUnits,
    NumpyTruncatedGaussian,
    SquashedGaussianActor,
    Temperature,
    TruncatedGaussianActor,
)
from agent_core.types import Box, ProblemSpec
from tests.support.learners import BOX_SPEC

_SPEC = ProblemSpec(1, 2, 1, box=Box((-2.0, 10.0), (2.0, 30.0)))


def test_units_by_hand() -> None:
    # The box has its middle at (0, 20) and reaches (2, 10) from there.
    units = BoxUnits(_SPEC)

    assert units.to_unit(torch.tensor([[1.0, 10.0]])).tolist() == [[0.5, -1.0]]
    assert units.to_box(torch.tensor([[-0.5, 0.25]])).tolist() == [[-1.0, 22.5]]
    assert units.to_box(torch.tensor([[9.0, -9.0]])).tolist() == [[2.0, 10.0]]


def test_units_are_no_part_of_a_saved_state() -> None:
    names = BoxActor(BOX_SPEC, (4,)).state_dict()

    assert set(names) == {
        "body.layers.0.weight",
        "body.layers.0.bias",
        "body.out.weight",
        "body.out.bias",
    }


def test_critics_see_the_unit_box_whatever_the_units() -> None:
    torch.manual_seed(0)
    metres = BoxCritics(ProblemSpec(1, 1, 1, box=Box((-1.0,), (1.0,))), (8,), members=2)
    millimetres = BoxCritics(ProblemSpec(1, 1, 1, box=Box((-1e3,), (1e3,))), (8,), members=2)
    millimetres.load_state_dict(metres.state_dict())
    state, action = torch.ones(4, 1), torch.linspace(-1, 1, 4).reshape(4, 1)

    torch.testing.assert_close(millimetres(state, 1e3 * action), metres(state, action))


def test_critics_differ_and_the_first_can_be_asked_alone() -> None:
    torch.manual_seed(0)
    critics = BoxCritics(BOX_SPEC, (8,), members=3, outputs=5)
    state, action = torch.ones(4, 3), torch.zeros(4, 2)

    values = critics(state, action)

    assert values.shape == (3, 4, 5)
    assert not torch.equal(values[0], values[1])
    assert torch.equal(critics.first(state, action), values[0])


def test_an_action_that_is_shifted_stays_in_the_box() -> None:
    actor = BoxActor(_SPEC, (4,))
    for parameter in actor.parameters():
        torch.nn.init.zeros_(parameter)

    shifted = actor.shifted(torch.zeros(2, 1), torch.tensor([[0.25, -0.5], [5.0, -5.0]]))

    # All weights are 0, so the action is the middle (0, 20); shares are of (2, 10).
    assert shifted.tolist() == [[0.5, 15.0], [2.0, 10.0]]


def test_sampling_passes_gradients_through_action_and_density() -> None:
    torch.manual_seed(0)
    actor = SquashedGaussianActor(BOX_SPEC, (8,))
    state, normals = torch.randn(5, 3), torch.randn(5, 2)

    action, log_density = actor.sample(state, normals)

    for result in (action.sum(), log_density.sum()):
        (gradient,) = torch.autograd.grad(result, [actor.body.out.weight], retain_graph=True)
        assert gradient.abs().sum() > 0


def test_without_noise_a_sample_is_the_mean() -> None:
    torch.manual_seed(0)
    actor = SquashedGaussianActor(BOX_SPEC, (8,))
    state = torch.randn(5, 3)

    action, _ = actor.sample(state, torch.zeros(5, 2))

    torch.testing.assert_close(action, actor(state))


def test_torch_and_numpy_agree_on_the_density_of_a_draw() -> None:
    torch.manual_seed(0)
    actor = TruncatedGaussianActor(_SPEC, (8,))
    scorer, state = NumpyTruncatedGaussian(actor), np.array([0.3], np.float32)

    for seed in range(20):
        action, density = scorer.draw(state, seed)
        expected = actor.log_density(torch.from_numpy(state)[None], torch.from_numpy(action)[None])
        assert math.log(density) == pytest.approx(expected.item(), abs=1e-4)


def test_a_new_truncated_policy_is_half_a_box_wide() -> None:
    actor = TruncatedGaussianActor(_SPEC, (8,))

    torch.testing.assert_close(actor.log_std().exp(), torch.full((2,), 0.5))


def test_the_temperature_rises_where_entropy_is_missing_and_falls_where_there_is_too_much() -> None:
    temperature = Temperature(0.5)

    gradients = [
        torch.autograd.grad(temperature.loss(torch.tensor([excess])), [temperature.log])[0].item()
        for excess in (-2.0, 0.0, 3.0)
    ]

    # d/dx exp(x) * excess = 0.5 * excess; a step goes against it.
    assert gradients == pytest.approx([-1.0, 0.0, 1.5])
    assert temperature().item() == pytest.approx(0.5)
