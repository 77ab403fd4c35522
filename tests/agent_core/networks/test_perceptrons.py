"""Networks over states and actions in both forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agent_core.networks.perceptrons import ActionValueNetwork, NumpyActionValue
from agent_core.types import ProblemSpec
from tests.support.learners import action_set, ragged


def _by_hand(hidden: tuple[int, ...]) -> ActionValueNetwork:
    """All weights 1 and all biases 0, but -1 on the first layer."""
    network = ActionValueNetwork(ProblemSpec(1, 1, 10), hidden)
    for name, parameter in network.named_parameters():
        torch.nn.init.constant_(parameter, float("bias" not in name))
    torch.nn.init.constant_(network.features.action_in.bias, -1.0)
    return network


def test_a_value_by_hand() -> None:
    network = _by_hand((2, 1))
    actions = ragged([action_set(np.random.default_rng(0), 2, dim=1)])
    actions.features[:] = torch.tensor([[3.0], [-4.0]])

    q = network(torch.tensor([[2.0]]), actions)

    # Both units of the first layer: relu(2 + 3 - 1) = 4 and relu(2 - 4 - 1) = 0; added up above.
    assert q.tolist() == [8.0, 0.0]


def test_a_set_is_scored_as_its_concatenated_pairs_would_be() -> None:
    generator = np.random.default_rng(0)
    network = ActionValueNetwork(ProblemSpec(3, 2, 10), (8, 4))
    sets = [action_set(generator, 4), action_set(generator, 0), action_set(generator, 2)]
    states = torch.from_numpy(generator.standard_normal((3, 3)).astype("f4"))
    first = network.features
    assert first.state_in is not None
    joint = torch.cat([first.state_in.weight, first.action_in.weight], dim=1)

    q = network(states, ragged(sets))

    pairs = [
        torch.cat([s, torch.from_numpy(a)])
        for s, actions in zip(states, sets, strict=True)
        for a in actions.features
    ]
    layer = torch.nn.functional.linear(torch.stack(pairs), joint, first.action_in.bias).relu()
    layer = first.between[0](layer).relu()
    torch.testing.assert_close(q, network.out(layer).squeeze(-1))


@pytest.mark.parametrize("state_dim", [0, 3])
def test_one_action_per_state_is_a_set_of_one(state_dim: int) -> None:
    generator = np.random.default_rng(1)
    network = ActionValueNetwork(ProblemSpec(state_dim, 2, 10), (8, 8))
    sets = [action_set(generator, 1) for _ in range(5)]
    states = torch.from_numpy(generator.standard_normal((5, state_dim)).astype("f4"))

    pairs = network.pairs(states, ragged(sets).features)

    torch.testing.assert_close(pairs, network(states, ragged(sets)))


@pytest.mark.parametrize("hidden", [(16,), (64, 64), (32, 16, 8)])
@pytest.mark.parametrize("state_dim", [0, 16])
@pytest.mark.parametrize("size", [1, 10, 1000])
def test_the_numpy_form_agrees(size: int, state_dim: int, hidden: tuple[int, ...]) -> None:
    generator = np.random.default_rng(size)
    network = ActionValueNetwork(ProblemSpec(state_dim, 5, 1000), hidden)
    state = generator.standard_normal(state_dim).astype("f4")
    actions = action_set(generator, size, dim=5)
    scorer = NumpyActionValue(network)

    value = scorer.score(state, scorer.prepare(actions.features)).value

    expected = network(torch.from_numpy(state).unsqueeze(0), ragged([actions]))
    assert value.dtype == np.float64
    np.testing.assert_allclose(value, expected.detach().numpy(), atol=1e-5)


def test_scoring_does_not_write_into_what_was_prepared() -> None:
    generator = np.random.default_rng(2)
    scorer = NumpyActionValue(ActionValueNetwork(ProblemSpec(0, 2, 10), (4,)))
    prepared = scorer.prepare(action_set(generator, 3).features)
    before = prepared.copy()

    scorer.score(np.zeros(0, np.float32), prepared)

    np.testing.assert_array_equal(prepared, before)


@pytest.mark.parametrize("state_dim", [0, 3])
def test_a_table_too_long_for_the_cache_is_scored_as_its_parts_would_be(state_dim: int) -> None:
    network = ActionValueNetwork(ProblemSpec(state_dim, 2, max_actions=2000), (8, 8))
    generator = np.random.Generator(np.random.PCG64(0))
    sets = [action_set(generator, size) for size in (1500, 0, 1700, 3)]
    state = torch.randn(4, state_dim)

    values = network(state, ragged(sets))

    alone = [network(state[i : i + 1], ragged([one])) for i, one in enumerate(sets)]
    torch.testing.assert_close(values, torch.cat(alone))
    values.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
