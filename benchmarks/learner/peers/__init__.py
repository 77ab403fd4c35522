"""The same learners as other libraries have them, each fed from its own memory in its own way."""

from __future__ import annotations

import importlib
from typing import Any

import gymnasium
import numpy as np

from benchmarks.learner.contestant import NotMeasuredError
from benchmarks.learner.task import Task


def imported(module: str) -> Any:
    """Raises: NotMeasuredError: it cannot be imported."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise NotMeasuredError(f"not installed: {error}") from error


def spaces_of(task: Task) -> tuple[Any, Any]:
    """The spaces of observations and of actions, as Gymnasium has them."""
    observations = gymnasium.spaces.Box(-np.inf, np.inf, (task.state_dim,), np.float32)
    if task.is_box:
        return observations, gymnasium.spaces.Box(-1, 1, (task.action_dim,), np.float32)
    return observations, gymnasium.spaces.Discrete(task.action_dim)
