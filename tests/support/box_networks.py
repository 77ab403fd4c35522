"""Critics of a box whose values are known by hand, and a batch of one transition for them."""

from __future__ import annotations

import numpy as np
import torch

from agent_core.networks.box import BoxCritics
from agent_core.training.collate import collate
from agent_core.types import ActionSet, Box, ProblemSpec, TransitionBatch
from tests.support.transitions import a_transition

LINE = ProblemSpec(1, 1, 1, box=Box((-2.0,), (2.0,)))
"""States of one number, actions of one from -2 to 2."""


def line_critics(*offsets: float, outputs: int = 1) -> BoxCritics:
    """Q(s, a) = relu(s + a / 2) + offset, one for each; all outputs are equal."""
    critics = BoxCritics(LINE, (1,), len(offsets), outputs)
    for name, parameter in critics.named_parameters():
        torch.nn.init.constant_(parameter, float("bias" not in name))
    for network, offset in zip(critics.networks, offsets, strict=True):
        torch.nn.init.constant_(network.get_parameter("out.bias"), offset)
    return critics.requires_grad_(False)


def line_step(**changes: object) -> TransitionBatch:
    """In state 1 action 1 was taken, for a reward of 3; state 2 follows."""
    fields: dict[str, object] = {
        "state": np.array([1.0], np.float32),
        "actions": ActionSet(("box",), np.array([[1.0]], np.float32)),
        "action": 0,
        "reward": 3.0,
        "next_state": np.array([2.0], np.float32),
        "terminated": False,
    }
    return collate([a_transition(**(fields | changes))], LINE, torch.device("cpu"))
