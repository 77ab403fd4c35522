"""Whether this process is one of several that torchrun started as one learner."""

from __future__ import annotations

import os

import torch

from agent_core.errors import ConfigError, ConfigProblem


def are_several() -> bool:
    """torchrun tells by the environment; one process alone is an ordinary learner."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_follower() -> bool:
    """Whether another process leads: this one does what that tells it."""
    return are_several() and int(os.environ["RANK"]) > 0


def own_device(device: torch.device) -> torch.device:
    """`device`, or the GPU that this one of several processes has to itself.

    Raises:
        ConfigError: it has none to itself.
    """
    if device.type != "cuda":
        return device
    here, count = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if str(device) != "cuda":
        problem, remedy = f"is {device} for {count} processes", "set it to cuda: each has its own"
        raise ConfigError([ConfigProblem("NACRE_DEVICE", problem, remedy)])
    gpus = torch.cuda.device_count()
    if count > gpus:
        problem = f"gives {gpus} GPUs to {count} processes"
        remedy = f"start torchrun with --nproc-per-node {gpus}, or set it to cpu"
        raise ConfigError([ConfigProblem("NACRE_DEVICE", problem, remedy)])
    return torch.device("cuda", here)
