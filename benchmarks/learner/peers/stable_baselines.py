"""Stable-baselines3: `train`, on a full buffer.

Its DQN copies the target network outside of `train`, so that is not counted; its PPO is given advantages,
and no continuous learner bounds its gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch

from benchmarks.learner.contestant import Contestant
from benchmarks.learner.peers import imported, spaces_of
from benchmarks.learner.task import Experience, Task, made_up


def stable_baselines(task: Task) -> Contestant:
    """Raises: NotMeasuredError: it is not installed."""
    model = _model(task)
    model.set_logger(imported("stable_baselines3.common.logger").Logger(None, []))
    if task.kind == "ppo":
        _fill_rollout(model.rollout_buffer, made_up(task))
        return Contestant(model.train, task.size // task.batch_size)
    _fill(model.replay_buffer, made_up(task))
    step: Callable[[], object] = partial(model.train, _UPDATES, task.batch_size)
    return Contestant(step, _UPDATES)


def _model(task: Task) -> Any:
    own = (
        {"n_steps": task.size, "n_epochs": 1} if task.kind == "ppo" else {"buffer_size": task.size}
    )
    environment: gymnasium.Env[Any, Any] = gymnasium.Env()
    environment.observation_space, environment.action_space = spaces_of(task)
    return getattr(imported("stable_baselines3"), task.kind.upper())(
        "MlpPolicy",
        environment,
        batch_size=task.batch_size,
        policy_kwargs={"net_arch": list(task.hidden), "activation_fn": torch.nn.ReLU},
        device="cpu",
        **own,
    )


def _fill(buffer: Any, told: Experience) -> None:
    buffer.observations[:, 0], buffer.next_observations[:, 0] = told.state, told.next_state
    buffer.actions[:] = told.action.reshape(buffer.actions.shape)
    buffer.rewards[:, 0], buffer.dones[:, 0] = told.reward, told.terminated
    buffer.full = True


def _fill_rollout(buffer: Any, told: Experience) -> None:
    buffer.observations[:, 0] = told.state
    buffer.actions[:] = told.action.reshape(buffer.actions.shape)
    buffer.advantages[:, 0] = buffer.returns[:, 0] = told.reward
    buffer.log_probs[:] = np.log(0.5)
    buffer.full = True


_UPDATES = 8
