"""What rank 0 tells the other ranks of a training, and how it is written down.

An order is a few words in msgpack, and tensors in the format of checkpoints: blocks of transitions, training
states. Nothing is pickled.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
import numpy as np
import safetensors.torch
import torch
from msgspec import Struct

from agent_core.config import AgentConfig, parse_agent_config
from agent_core.interfaces import TrainingState
from agent_core.types import FACTS, TransitionBlock


class Build(Struct, frozen=True, tag=True):
    """A learner of this agent, which gets this number."""

    learner: int
    agent: dict[str, Any]

    @classmethod
    def of(cls, learner: int, agent: AgentConfig) -> Build:
        return cls(learner, agent.model_dump(mode="json"))

    def config(self) -> AgentConfig:
        return parse_agent_config(self.agent)


class Learn(Struct, frozen=True, tag=True):
    """From the block of transitions that comes along."""

    learner: int


class MakeUpdates(Struct, frozen=True, tag=True):
    """Besides those that are due."""

    learner: int
    count: int


class Load(Struct, frozen=True, tag=True):
    """The training state that comes along."""

    learner: int


class Stay(Struct, frozen=True, tag=True):
    """There is nothing to do. `learners`: those that rank 0 still has; nobody needs others any more."""

    learners: list[int]


class Stop(Struct, frozen=True, tag=True):
    """There will be no more orders."""


Order: TypeAlias = Build | Learn | MakeUpdates | Load | Stay | Stop

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Order).decode


def encoded(order: Order, tensors: TrainingState) -> tuple[bytes, bytes]:
    """An order as bytes, and what comes along."""
    here = {name: one.detach().cpu().contiguous() for name, one in tensors.items()}
    return _encode(order), safetensors.torch.save(here)


def decoded(head: bytes, body: bytes) -> tuple[Order, TrainingState]:
    """What `encoded` was given; tensors on the host."""
    return _decode(head), safetensors.torch.load(body)


def tensors_of(block: TransitionBlock) -> TrainingState:
    """A block as tensors that share its memory; facts as bytes, `[T * itemsize]`."""
    columns = {
        "state": block.state,
        "next_state": block.next_state,
        "features": block.features,
        "offsets": block.offsets,
        "facts": np.ascontiguousarray(block.facts).view(np.uint8),
    }
    return {name: torch.from_numpy(column) for name, column in columns.items()}


def block_of(tensors: TrainingState) -> TransitionBlock:
    """The block that these are the tensors of."""
    columns = {name: one.numpy() for name, one in tensors.items()}
    return TransitionBlock(**columns | {"facts": columns["facts"].view(FACTS)})
