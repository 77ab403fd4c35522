"""Bare loops of learners of action values."""

from __future__ import annotations

import copy
from typing import Final

import torch
from torch import nn
from torch.nn import functional

from agent_core.functional.quantiles import midpoints, quantile_huber
from benchmarks.learner.bare.parts import DISCOUNT, Memory, Optimizer, chosen, mix, mlp, target
from benchmarks.learner.task import Task

_QUANTILES: Final = 32
_KAPPA: Final = 0.1
_DECAY: Final = 1e-4


class Dqn:
    """Mnih et al. 2015."""

    def __init__(self, task: Task) -> None:
        self._memory = Memory(task)
        self._network = mlp(task.state_dim, task.hidden, task.action_dim)
        self._target = copy.deepcopy(self._network).requires_grad_(False)
        self._optimizer = Optimizer(self._network)

    def __call__(self) -> None:
        batch = self._memory.sample()
        wanted = target(batch, self._target(batch.next_state).amax(1))
        value = chosen(self._network(batch.state), batch)
        self._optimizer.descend(functional.huber_loss(value, wanted))
        mix(self._target, self._network)


class Cql(Dqn):
    """Kumar et al. 2020, eq. 4, on double targets."""

    def __call__(self) -> None:
        batch = self._memory.sample()
        with torch.no_grad():
            liked = self._network(batch.next_state).argmax(1, keepdim=True)
            following = self._target(batch.next_state).gather(1, liked).squeeze(1)
        values = self._network(batch.state)
        value = chosen(values, batch)
        conservatism = (values.logsumexp(1) - value).mean()
        self._optimizer.descend(
            functional.huber_loss(value, target(batch, following)) + conservatism
        )
        mix(self._target, self._network)


class QrDqn:
    """Dabney et al. 2018."""

    def __init__(self, task: Task) -> None:
        self._memory = Memory(task)
        outputs = nn.Unflatten(1, (task.action_dim, _QUANTILES))
        body = mlp(task.state_dim, task.hidden, task.action_dim * _QUANTILES)
        self._network = nn.Sequential(body, outputs)
        self._target = copy.deepcopy(self._network).requires_grad_(False)
        self._optimizer = Optimizer(self._network)
        self._taus = midpoints(_QUANTILES)
        self._rows = torch.arange(task.batch_size)

    def __call__(self) -> None:
        batch = self._memory.sample()
        following = self._target(batch.next_state)
        best = following[self._rows, following.mean(2).argmax(1)]
        wanted = batch.reward[:, None] + DISCOUNT * batch.goes_on[:, None] * best
        predicted = self._network(batch.state)[self._rows, batch.action]
        self._optimizer.descend(quantile_huber(predicted, self._taus, wanted, _KAPPA).mean())
        mix(self._target, self._network)


class NeuralLinear:
    """The features of Riquelme et al. 2018: a regression on the reward of the action that was taken."""

    def __init__(self, task: Task) -> None:
        self._memory = Memory(task)
        self._actions = torch.eye(task.action_dim)
        self._network = mlp(task.state_dim + task.action_dim, task.hidden, 1)
        self._optimizer = Optimizer(self._network, weight_decay=_DECAY)

    def __call__(self) -> None:
        batch = self._memory.sample()
        inputs = torch.cat([batch.state, self._actions[batch.action]], 1)
        self._optimizer.descend(functional.mse_loss(self._network(inputs).squeeze(1), batch.reward))
