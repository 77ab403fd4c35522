"""All weights of a network as one tensor, of which its parameters are views."""

from __future__ import annotations

import copy

import torch
from torch import nn

from agent_core.policy_learners.weights import Weights


def _network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))


def _loss(network: nn.Module) -> torch.Tensor:
    loss: torch.Tensor = network(torch.tensor([[1.0, -2.0], [0.5, 3.0]])).square().sum()
    return loss


def test_what_the_flat_tensor_holds_the_parameters_are() -> None:
    network = _network()
    before = [parameter.detach().clone() for parameter in network.parameters()]
    weights = Weights(network)

    weights.flat.add_(1.0)

    assert weights.flat.shape == (2 * 3 + 3 + 3 + 1,)
    for parameter, was in zip(network.parameters(), before, strict=True):
        assert torch.equal(parameter, was + 1.0)


def test_the_network_saves_and_loads_as_any_other() -> None:
    plain, network = _network(), _network()
    weights = Weights(network)

    network.load_state_dict(plain.state_dict())

    saved = network.state_dict()
    assert saved.keys() == plain.state_dict().keys() == weights.training_state().keys()
    assert torch.equal(weights.flat, torch.cat([p.flatten() for p in plain.parameters()]))


def test_a_loaded_state_is_copied() -> None:
    weights, other = Weights(_network()), Weights(_network())
    other.load_training_state(weights.training_state())

    other.flat.zero_()

    assert weights.flat.any()


def test_a_copy_has_a_flat_tensor_of_its_own_of_which_its_parameters_are_views() -> None:
    network = _network()
    before = copy.deepcopy(network.state_dict())
    pair = copy.deepcopy((network, Weights(network)))

    pair[1].flat.zero_()

    assert not any(parameter.any() for parameter in pair[0].parameters())
    assert all(torch.equal(network.state_dict()[name], was) for name, was in before.items())


def test_a_target_network_stays_untrained_also_as_a_copy() -> None:
    network = _network().requires_grad_(False)

    copied, _ = copy.deepcopy((network, Weights(network)))

    assert not any(p.requires_grad for p in [*network.parameters(), *copied.parameters()])


def test_the_gradient_is_that_of_each_parameter_one_after_the_other() -> None:
    network = _network()
    expected = torch.autograd.grad(_loss(network), list(network.parameters()))
    weights = Weights(network)

    flat = weights.gradient(_loss(network))

    assert torch.equal(flat, torch.cat([one.flatten() for one in expected]))


def test_a_weight_that_the_loss_does_not_depend_on_has_a_gradient_of_zero() -> None:
    network = nn.ModuleList([nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)])
    weights = Weights(network)

    flat = weights.gradient(network[0](torch.full((1, 1), 5.0)).sum())

    assert flat.tolist() == [5.0, 0.0]


def test_one_moves_towards_the_other_by_a_share_of_the_way_or_not_at_all() -> None:
    mine, other = Weights(nn.Linear(1, 1)), Weights(nn.Linear(1, 1))
    mine.flat.copy_(torch.tensor([1.0, 0.0]))
    other.flat.copy_(torch.tensor([5.0, 2.0]))

    mine.move_towards(other, 0.25, moved=torch.tensor(0.0))
    still = mine.flat.tolist()
    mine.move_towards(other, 0.25)

    # A quarter of the way from 1 to 5, and from 0 to 2.
    assert still == [1.0, 0.0]
    assert mine.flat.tolist() == [2.0, 0.5]
    assert other.flat.tolist() == [5.0, 2.0]


def test_rebased_it_works_on_what_it_was_given_with_the_same_gradient() -> None:
    network = _network()
    weights = Weights(network)
    gradient, own = weights.gradient(_loss(network)), weights.flat
    before, given = own.clone(), own.clone()

    weights.rebase([given])
    rebased = weights.gradient(_loss(network))
    with torch.no_grad():
        weights.flat.add_(1.0)
    changed = weights.gradient(_loss(network))

    assert torch.equal(rebased, gradient)
    assert torch.equal(given, before + 1.0)
    assert torch.equal(own, before)
    assert not torch.equal(changed, gradient)  # the network sees what was changed
