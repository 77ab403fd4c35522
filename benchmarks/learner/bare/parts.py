"""What all bare loops are made of."""

from __future__ import annotations

from itertools import chain, pairwise
from typing import Final, NamedTuple

import torch
from torch import nn

from benchmarks.learner.task import Task, made_up

DISCOUNT: Final = 0.99
MIX: Final = 0.005
_RATE: Final = 1e-3
_LARGEST_NORM: Final = 10.0


class Batch(NamedTuple):
    """B transitions. `action`: `[B]` int64, or `[B, D]` in a box. `goes_on`: `[B]`, 1 or 0."""

    state: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor
    next_state: torch.Tensor
    goes_on: torch.Tensor


class Memory:
    """The experience of a task as one tensor for each column."""

    def __init__(self, task: Task) -> None:
        told = made_up(task)
        arrays = (told.state, told.action, told.reward, told.next_state, ~told.terminated)
        state, action, reward, next_state, goes_on = (torch.from_numpy(one) for one in arrays)
        self.everything = Batch(state, action, reward.float(), next_state, goes_on.float())
        self._sizes = task.size, (task.batch_size,)

    def sample(self) -> Batch:
        """With replacement."""
        rows = torch.randint(*self._sizes)
        return Batch(*(column[rows] for column in self.everything))


class Optimizer:
    """Adam over `modules`, whose gradient has a bounded norm."""

    def __init__(self, *modules: nn.Module, weight_decay: float = 0.0) -> None:
        self._weights = list(chain.from_iterable(module.parameters() for module in modules))
        self._adam = torch.optim.AdamW(
            self._weights, lr=_RATE, weight_decay=weight_decay, fused=True
        )

    def descend(self, loss: torch.Tensor) -> None:
        self._adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._weights, _LARGEST_NORM)
        self._adam.step()


class Twins(nn.Module):
    """Two networks, so that no target believes the luckier of two errors."""

    def __init__(self, inputs: int, hidden: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.first, self.second = mlp(inputs, hidden, outputs), mlp(inputs, hidden, outputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """`[2, B, outputs]` for `[B, inputs]`."""
        return torch.stack([self.first(inputs), self.second(inputs)])


class Temperature(nn.Module):
    """What a nat of entropy is worth."""

    def __init__(self) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.zeros(()))


def mlp(inputs: int, hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
    """A perceptron with ReLU units."""
    pairs = pairwise((inputs, *hidden))
    layers = [layer for a, b in pairs for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], outputs))


def target(batch: Batch, following: torch.Tensor) -> torch.Tensor:
    """`[B]`: reward + discount * `following` `[B]`, where something follows."""
    return batch.reward + DISCOUNT * batch.goes_on * following


def chosen(values: torch.Tensor, batch: Batch) -> torch.Tensor:
    """`[..., B]`: of `values` `[..., B, A]` those of the actions that were taken."""
    rows = batch.action.view(-1, 1).expand(*values.shape[:-1], 1)
    return values.gather(-1, rows).squeeze(-1)


@torch.no_grad()
def mix(followers: nn.Module, trained: nn.Module) -> None:
    """Moves a target network a little towards the trained one."""
    torch._foreach_lerp_(list(followers.parameters()), list(trained.parameters()), MIX)
