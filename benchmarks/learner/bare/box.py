"""Bare loops of learners of continuous actions, in [-1, 1]^D."""

from __future__ import annotations

import copy
import math
from typing import Final

import torch
from torch.nn import functional

from benchmarks.learner.bare.parts import (
    Batch,
    Memory,
    Optimizer,
    Temperature,
    Twins,
    mix,
    mlp,
    target,
)
from benchmarks.learner.task import Task

_SMOOTHING: Final = 0.2
_SMOOTHING_LIMIT: Final = 0.5
_ACTOR_PERIOD: Final = 2


class Sac:
    """Haarnoja et al. 2018, with a learned temperature."""

    def __init__(self, task: Task) -> None:
        self._memory = Memory(task)
        self._actor = mlp(task.state_dim, task.hidden, 2 * task.action_dim)
        self._critics = Twins(task.state_dim + task.action_dim, task.hidden, 1)
        self._temperature = Temperature()
        self._targets = copy.deepcopy(self._critics).requires_grad_(False)
        trained = (self._actor, self._critics, self._temperature)
        self._actor_step, self._critic_step, self._temperature_step = map(Optimizer, trained)

    def __call__(self) -> None:
        batch = self._memory.sample()
        temperature = self._temperature.log.detach().exp()
        with torch.no_grad():
            action, density = self._sample(batch.next_state)
            lowest = _values(self._targets, batch.next_state, action).amin(0)
            wanted = target(batch, lowest - temperature * density)
        errors = _values(self._critics, batch.state, batch.action) - wanted
        self._critic_step.descend(errors.square().mean(1).sum())
        self._improve(batch, temperature)
        mix(self._targets, self._critics)

    def _improve(self, batch: Batch, temperature: torch.Tensor) -> None:
        action, density = self._sample(batch.state)
        worth = _values(self._critics, batch.state, action).amin(0)
        self._actor_step.descend((temperature * density - worth).mean())
        lacking = (density.detach() - action.shape[1]).mean()
        self._temperature_step.descend(-self._temperature.log * lacking)

    def _sample(self, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Actions `[B, D]`, and their log-densities `[B]`."""
        mean, log_std = self._actor(state).chunk(2, 1)
        log_std = log_std.clamp(-20, 2)
        normal = torch.randn_like(mean)
        raw = mean + log_std.exp() * normal
        before = -0.5 * (normal.square() + math.log(2 * math.pi)) - log_std
        squash = 2 * (math.log(2) - raw - functional.softplus(-2 * raw))
        return raw.tanh(), (before - squash).sum(1)


class Td3:
    """Fujimoto et al. 2018, algorithm 1."""

    def __init__(self, task: Task) -> None:
        self._memory = Memory(task)
        self._actor = mlp(task.state_dim, task.hidden, task.action_dim)
        self._critics = Twins(task.state_dim + task.action_dim, task.hidden, 1)
        self._target_actor = copy.deepcopy(self._actor).requires_grad_(False)
        self._targets = copy.deepcopy(self._critics).requires_grad_(False)
        self._actor_step, self._critic_step = Optimizer(self._actor), Optimizer(self._critics)
        self._updates = 0

    def __call__(self) -> None:
        batch = self._memory.sample()
        noise = _SMOOTHING * torch.randn_like(batch.action)
        noise = noise.clamp(-_SMOOTHING_LIMIT, _SMOOTHING_LIMIT)
        action = (self._target_actor(batch.next_state).tanh() + noise).clamp(-1, 1)
        wanted = target(batch, _values(self._targets, batch.next_state, action).amin(0))
        errors = _values(self._critics, batch.state, batch.action) - wanted
        self._critic_step.descend(errors.square().mean(1).sum())
        self._updates += 1
        if self._updates % _ACTOR_PERIOD == 0:
            self._improve(batch)

    def _improve(self, batch: Batch) -> None:
        inputs = torch.cat([batch.state, self._actor(batch.state).tanh()], 1)
        self._actor_step.descend(-self._critics.first(inputs).mean())
        mix(self._target_actor, self._actor)
        mix(self._targets, self._critics)


def _values(critics: Twins, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    """`[2, B]`."""
    values: torch.Tensor = critics(torch.cat([state, action], 1))
    return values.squeeze(2)
