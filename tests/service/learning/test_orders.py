"""What one process tells another arrives as it was, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agent_core.config import parse_agent_config
from agent_core.functional.blocks import part
from agent_core.training.collate import block_of
from service.learning import orders
from service.learning.orders import Build, Learn, Load, MakeUpdates, Order, Stay, Stop
from tests.support.learners import SPEC, made_up
from tests.support.policies import featured, steering


@given(count=st.integers(0, 6), cut=st.integers(0, 6))
def test_a_block_arrives_as_it_was(count: int, cut: int) -> None:
    block = part(block_of(made_up(count, 0, SPEC), SPEC), min(cut, count), count)

    _, tensors = orders.decoded(*orders.encoded(Learn(3), orders.tensors_of(block)))
    arrived = orders.block_of(tensors)

    for name in ("state", "next_state", "features", "offsets", "facts"):
        np.testing.assert_array_equal(getattr(arrived, name), getattr(block, name))


@pytest.mark.parametrize("order", [Learn(1), MakeUpdates(1, 20), Load(2), Stay([1, 2]), Stop()])
def test_an_order_arrives_as_it_was(order: Order) -> None:
    assert orders.decoded(*orders.encoded(order, {})) == (order, {})


@pytest.mark.parametrize("document", [featured(), steering()], ids=lambda one: one["policy"])
def test_an_agent_arrives_as_it_was(document: dict[str, object]) -> None:
    agent = parse_agent_config(document["agent"])

    order, _ = orders.decoded(*orders.encoded(Build.of(7, agent), {}))

    assert isinstance(order, Build)
    assert (order.learner, order.config()) == (7, agent)


def test_a_training_state_arrives_as_it_was() -> None:
    """A view, a scalar, 64 bits, nothing at all."""
    state = {
        "view": torch.arange(6.0).reshape(2, 3).T,
        "count": torch.tensor(2**60 + 1),
        "none": torch.zeros(0, 4),
    }

    _, arrived = orders.decoded(*orders.encoded(Load(1), state))

    assert arrived.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(arrived[name], tensor)
