"""Bare loops of actors that choose among actions."""

from __future__ import annotations

import copy
from typing import Final

import torch
from torch.nn import functional

from benchmarks.learner.bare.parts import (
    Batch,
    Memory,
    Optimizer,
    Temperature,
    Twins,
    chosen,
    mix,
    mlp,
    target,
)
from benchmarks.learner.task import Task

_CLIP: Final = 0.2
_ENTROPY: Final = 0.01
_EXPECTILE: Final = 0.7
_INVERSE_TEMPERATURE: Final = 3.0
_LARGEST: Final = 100.0
_AIM: Final = 0.3


class Ppo:
    """Schulman et al. 2017: one epoch over the experience, whose advantages are known before."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._everything = Memory(task).everything
        self._actor = mlp(task.state_dim, task.hidden, task.action_dim)
        self._critic = mlp(task.state_dim, task.hidden, 1)
        self._optimizer = Optimizer(self._actor, self._critic)
        with torch.no_grad():
            self._log_p = chosen(
                self._actor(self._everything.state).log_softmax(1), self._everything
            )

    def __call__(self) -> None:
        for rows in torch.randperm(self._task.size).split(self._task.batch_size):
            batch = Batch(*(column[rows] for column in self._everything))
            self._learn(batch, self._log_p[rows])

    def _learn(self, batch: Batch, logged: torch.Tensor) -> None:
        log_p = self._actor(batch.state).log_softmax(1)
        advantage = (batch.reward - batch.reward.mean()) / (batch.reward.std() + 1e-8)
        ratio = (chosen(log_p, batch) - logged).exp()
        gain = torch.minimum(ratio * advantage, ratio.clamp(1 - _CLIP, 1 + _CLIP) * advantage)
        entropy = -(log_p.exp() * log_p).sum(1)
        error = functional.mse_loss(self._critic(batch.state).squeeze(1), batch.reward)
        self._optimizer.descend(0.5 * error - gain.mean() - _ENTROPY * entropy.mean())


class DiscreteSac:
    """Christodoulou 2019."""

    def __init__(self, task: Task) -> None:
        sizes = task.state_dim, task.hidden, task.action_dim
        self._memory = Memory(task)
        self._actor, self._critics, self._temperature = mlp(*sizes), Twins(*sizes), Temperature()
        self._targets = copy.deepcopy(self._critics).requires_grad_(False)
        trained = (self._actor, self._critics, self._temperature)
        self._actor_step, self._critic_step, self._temperature_step = map(Optimizer, trained)
        self._aim = _AIM * torch.tensor(float(task.action_dim)).log()

    def __call__(self) -> None:
        batch = self._memory.sample()
        temperature = self._temperature.log.detach().exp()
        with torch.no_grad():
            log_p = self._actor(batch.next_state).log_softmax(1)
            soft = self._targets(batch.next_state).amin(0) - temperature * log_p
            wanted = target(batch, (log_p.exp() * soft).sum(1))
        errors = chosen(self._critics(batch.state), batch) - wanted
        self._critic_step.descend(0.5 * errors.square().mean(1).sum())
        self._improve(batch, temperature)
        mix(self._targets, self._critics)

    def _improve(self, batch: Batch, temperature: torch.Tensor) -> None:
        log_p = self._actor(batch.state).log_softmax(1)
        with torch.no_grad():
            value = self._critics(batch.state).amin(0)
        cost = (log_p.exp() * (temperature * log_p - value)).sum(1)
        self._actor_step.descend(cost.mean())
        entropy = -(log_p.exp() * log_p).detach().sum(1)
        self._temperature_step.descend(self._temperature.log * (entropy - self._aim).mean())


class DiscreteIql:
    """Kostrikov et al. 2022."""

    def __init__(self, task: Task) -> None:
        sizes = task.state_dim, task.hidden, task.action_dim
        self._memory = Memory(task)
        self._actor, self._critics = mlp(*sizes), Twins(*sizes)
        self._value = mlp(task.state_dim, task.hidden, 1)
        self._targets = copy.deepcopy(self._critics).requires_grad_(False)
        trained = (self._actor, self._critics, self._value)
        self._actor_step, self._critic_step, self._value_step = map(Optimizer, trained)

    def __call__(self) -> None:
        batch = self._memory.sample()
        with torch.no_grad():
            wanted = target(batch, self._value(batch.next_state).squeeze(1))
            logged = chosen(self._targets(batch.state), batch).amin(0)
        errors = chosen(self._critics(batch.state), batch) - wanted
        self._critic_step.descend(errors.square().mean(1).sum())
        self._improve(batch, logged)
        mix(self._targets, self._critics)

    def _improve(self, batch: Batch, logged: torch.Tensor) -> None:
        advantage = logged - self._value(batch.state).squeeze(1)
        share = torch.where(advantage.detach() < 0, 1 - _EXPECTILE, _EXPECTILE)
        self._value_step.descend((share * advantage.square()).mean())
        preference = (_INVERSE_TEMPERATURE * advantage.detach()).exp().clamp_max(_LARGEST)
        log_p = chosen(self._actor(batch.state).log_softmax(1), batch)
        self._actor_step.descend(-(preference * log_p).mean())
