"""TorchRL: a loss module on batches from a tensor storage, one Adam, and its soft update of targets.

None bounds its gradient.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import torch

from benchmarks.learner.contestant import Contestant
from benchmarks.learner.peers import imported
from benchmarks.learner.task import Task, made_up

_RATE: Final = 1e-3
_MIX: Final = 0.005
_ACTOR_PERIOD: Final = 2


def torchrl(task: Task) -> Contestant:
    """Raises: NotMeasuredError: it is not installed."""
    loss, losses = _LOSSES[task.kind](task)
    loss.make_value_estimator(imported("torchrl.objectives.utils").ValueEstimators.TD0, gamma=0.99)
    targets = imported("torchrl.objectives").SoftUpdate(loss, tau=_MIX)
    adam = torch.optim.Adam(loss.parameters(), lr=_RATE)
    memory = _memory(task)

    def step() -> None:
        total = torch.stack(losses(memory.sample())).sum()
        adam.zero_grad()
        total.backward()
        adam.step()
        targets.step()

    return Contestant(step, 1)


_Losses = Callable[[Any], list[Any]]
"""The losses of a batch, of which the sum is to fall."""


def _memory(task: Task) -> Any:
    data, told = imported("torchrl.data"), made_up(task)
    action = torch.from_numpy(told.action)
    ended = torch.from_numpy(told.terminated)[:, None]
    columns = {
        "observation": torch.from_numpy(told.state),
        "action": action if task.is_box else torch.nn.functional.one_hot(action, task.action_dim),
        "next": {
            "observation": torch.from_numpy(told.next_state),
            "reward": torch.from_numpy(told.reward).float()[:, None],
            "done": ended,
            "terminated": ended,
        },
    }
    # It tells of every storage it makes, in the middle of a progress bar; its import sets the level anew.
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    storage = data.LazyTensorStorage(task.size)
    memory = data.TensorDictReplayBuffer(storage=storage, batch_size=task.batch_size)
    memory.extend(imported("tensordict").TensorDict(columns, batch_size=[task.size]))
    return memory


def _dqn(task: Task) -> tuple[Any, _Losses]:
    modules = imported("torchrl.modules")
    network = modules.MLP(**_sizes(task, task.state_dim, task.action_dim))
    actor = modules.QValueActor(network, spec=imported("torchrl.data").OneHot(task.action_dim))
    loss = imported("torchrl.objectives").DQNLoss(actor, loss_function="smooth_l1")
    return loss, lambda batch: [loss(batch)["loss"]]


def _sac(task: Task) -> tuple[Any, _Losses]:
    modules, tensordict = imported("torchrl.modules"), imported("tensordict.nn")
    network = torch.nn.Sequential(
        modules.MLP(**_sizes(task, task.state_dim, 2 * task.action_dim)),
        tensordict.NormalParamExtractor(),
    )
    keys = ["loc", "scale"]
    actor = modules.ProbabilisticActor(
        tensordict.TensorDictModule(network, in_keys=["observation"], out_keys=keys),
        in_keys=keys,
        spec=_action_spec(task),
        distribution_class=modules.TanhNormal,
        return_log_prob=True,
    )
    loss = imported("torchrl.objectives").SACLoss(actor, _critic(task), loss_function="l2")
    names = ("loss_actor", "loss_qvalue", "loss_alpha")

    def losses(batch: Any) -> list[Any]:
        found = loss(batch)
        return [found[name] for name in names]

    return loss, losses


def _td3(task: Task) -> tuple[Any, _Losses]:
    modules = imported("torchrl.modules")
    body = modules.MLP(**_sizes(task, task.state_dim, task.action_dim))
    network = torch.nn.Sequential(body, torch.nn.Tanh())
    actor = modules.Actor(network, spec=_action_spec(task))
    loss = imported("torchrl.objectives").TD3Loss(
        actor, _critic(task), action_spec=_action_spec(task), loss_function="l2"
    )
    made = 0

    def losses(batch: Any) -> list[Any]:
        nonlocal made
        made += 1
        values = [loss.value_loss(batch)[0]]
        return values if made % _ACTOR_PERIOD else [*values, loss.actor_loss(batch)[0]]

    return loss, losses


def _critic(task: Task) -> Any:
    modules = imported("torchrl.modules")
    network = modules.MLP(**_sizes(task, task.state_dim + task.action_dim, 1))
    return modules.ValueOperator(network, in_keys=["observation", "action"])


def _action_spec(task: Task) -> Any:
    return imported("torchrl.data").Bounded(-1.0, 1.0, shape=(task.action_dim,))


def _sizes(task: Task, inputs: int, outputs: int) -> dict[str, Any]:
    return {
        "in_features": inputs,
        "out_features": outputs,
        "num_cells": list(task.hidden),
        "activation_class": torch.nn.ReLU,
    }


_LOSSES: Final[dict[str, Callable[[Task], tuple[Any, _Losses]]]] = {
    "dqn": _dqn,
    "sac": _sac,
    "td3": _td3,
}
