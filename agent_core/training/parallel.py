"""Several processes that train one learner, each on its part of every batch.

    torchrun --nproc-per-node 2 -m ...      ranks = Ranks.joined(); AgentLearner(..., ranks=ranks)

Every rank is given the same transitions, so all of them hold the same replay and draw the same batch; each
computes the gradient of its own rows, and moves by the mean of all gradients. So they stay equal, and equal to one
process on the whole batch, up to rounding. It pays for large networks alone, from about 512 units a layer on two CPU
cores (benchmarks/learner/ranks.json).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.distributed as dist

from agent_core.errors import ConfigError, ConfigProblem
from agent_core.interfaces import PolicyLearner, Splittable
from agent_core.policy_learners.gradient import GradientStep
from agent_core.policy_learners.parts import LearnsInBatches

_Batch = TypeVar("_Batch", bound=Splittable)


class Ranks:
    """The processes of one training. `rank`: the number of this one. `count`: how many there are."""

    def __init__(self, rank: int, count: int) -> None:
        self.rank = rank
        self.count = count

    @classmethod
    def joined(cls, backend: str = "gloo") -> Ranks:
        """Waits for the others that torchrun started. `backend`: `gloo`, or `nccl` for GPUs."""
        dist.init_process_group(backend)
        return cls(dist.get_rank(), dist.get_world_size())

    def join(self, learner: PolicyLearner) -> None:
        """Makes every gradient step of `learner` one of all ranks.

        Raises:
            ConfigError: something besides gradients moves it.
        """
        if not isinstance(learner, LearnsInBatches) or not learner.moves_by_gradient_alone:
            problem = "it is moved by more than gradients, which several ranks cannot share"
            raise ConfigError([ConfigProblem("agent", problem, "train it in one process")])
        for part in learner.parts.values():
            if isinstance(part, GradientStep):
                part.average = self.average

    def part(self, batch: _Batch) -> _Batch:
        """The rows of `batch` that are this rank's; its size is a multiple of `count`."""
        return batch.split(self.count)[self.rank]

    def average(self, gradients: Sequence[torch.Tensor]) -> None:
        """Replaces each of `gradients` by its mean over all ranks."""
        for gradient in gradients:
            dist.all_reduce(gradient)
            gradient.div_(self.count)

    def gathered(self, part: torch.Tensor) -> torch.Tensor:
        """`[B]`: what each rank has found for its rows, `[B / count]`, in the order of the batch."""
        found = [torch.empty_like(part) for _ in range(self.count)]
        dist.all_gather(found, part)
        return torch.cat(found)
