"""Networks whose outputs can be worked out by heart."""

from __future__ import annotations

import numpy as np
import torch

from agent_core.networks.perceptrons import ActionValueNetwork, StateNetwork
from agent_core.types import ActionSet, ProblemSpec

PLAIN_SPEC = ProblemSpec(state_dim=1, action_dim=1, max_actions=10)


def adding_network() -> ActionValueNetwork:
    """relu(s + a), for states and actions of one number each."""
    network = ActionValueNetwork(PLAIN_SPEC, (1,))
    _make_plain(network)
    return network


def passing_network() -> StateNetwork:
    """relu(s), for states of one number."""
    network = StateNetwork(PLAIN_SPEC, (1,))
    _make_plain(network)
    return network


def numbered(*features: float) -> ActionSet:
    """Actions of one feature each."""
    column = np.array(features, np.float32).reshape(-1, 1)
    return ActionSet(tuple(map(str, range(len(features)))), column)


def _make_plain(network: torch.nn.Module) -> None:
    for name, parameter in network.named_parameters():
        torch.nn.init.constant_(parameter, float("bias" not in name))
