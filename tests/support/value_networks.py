"""Networks whose values are known by hand, and a batch of one transition for them."""

from __future__ import annotations

import numpy as np
import torch

from agent_core.networks.perceptrons import ActionValueNetwork
from agent_core.training.collate import collate
from agent_core.types import ActionSet, ProblemSpec, TransitionBatch
from tests.support.transitions import a_transition

NUMBERS = ProblemSpec(state_dim=1, action_dim=1, max_actions=10)
"""States and actions of one number each."""


def adding_network(*weights: float) -> ActionValueNetwork:
    """Output k is weights[k] * relu(s + a); one output of weight 1 if none is given."""
    weights = weights or (1.0,)
    network = ActionValueNetwork(NUMBERS, (1,), len(weights))
    for name, parameter in network.named_parameters():
        torch.nn.init.constant_(parameter, float("bias" not in name))
    network.requires_grad_(False)
    network.out.weight.copy_(torch.tensor(weights).unsqueeze(1))
    return network


def numbers(*features: float) -> ActionSet:
    """Actions of one number each."""
    column = np.array(features, np.float32).reshape(-1, 1)
    return ActionSet(tuple(map(str, features)), column)


def one_step(**changes: object) -> TransitionBatch:
    """In state 1 action 4 of {0, 4, 9} was taken, for a reward of 1; state 2 with {1, 3} follows."""
    fields: dict[str, object] = {
        "state": np.array([1.0], np.float32),
        "actions": numbers(0.0, 4.0, 9.0),
        "action": 1,
        "reward": 1.0,
        "next_state": np.array([2.0], np.float32),
        "next_actions": numbers(1.0, 3.0),
        "terminated": False,
    }
    return collate([a_transition(**(fields | changes))], NUMBERS, torch.device("cpu"))
