"""Several processes that train one learner, each on its part of every batch.

    torchrun --nproc-per-node 2 -m ...      ranks = Ranks.joined(device); AgentLearner(..., ranks=ranks)

Every rank is given the same transitions, so all of them hold the same replay and draw the same batch; each
computes the gradient of its own rows, and moves by the mean of all gradients. So they stay equal, and equal to one
process on the whole batch, up to rounding. It pays for large networks alone, from about 512 units a layer on two CPU
cores (benchmarks/learner/ranks.json).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from agent_core.errors import ConfigError, ConfigProblem, RankLostError
from agent_core.interfaces import PolicyLearner, Splittable
from agent_core.policy_learners.gradient import GradientStep
from agent_core.policy_learners.parts import LearnsInBatches

_Batch = TypeVar("_Batch", bound=Splittable)

PATIENCE: Final = timedelta(seconds=60)
"""How long a rank waits for the others before it takes them for lost. They make the same steps in turns of a tenth
of a second, and a process that was killed is noticed at once: so this is for machines that hang, and long enough for
a first step on a GPU, which loads its library."""


class Ranks:
    """The processes of one training. `rank`: the number of this one. `count`: how many there are."""

    def __init__(self, rank: int, count: int) -> None:
        self.rank = rank
        self.count = count

    @classmethod
    def joined(cls, device: torch.device) -> Ranks:
        """Waits for the others that torchrun started. `device`: where this one computes; each GPU has one rank."""
        if device.type == "cuda":
            torch.cuda.set_device(device)
        store, rank, count = next(rendezvous("env://", timeout=PATIENCE))
        # A group that torchrun starts again finds in its store where the processes of the last one were.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            timeout=PATIENCE,
            store=PrefixStore(attempt, store),
            rank=rank,
            world_size=count,
        )
        return cls(rank, count)

    def leave(self) -> None:
        """Ends the group, once no rank has anything left to do."""
        dist.destroy_process_group()

    def join(self, learner: PolicyLearner, batch_size: int) -> None:
        """Makes every gradient step of `learner` one of all ranks.

        Raises:
            ConfigError: something besides gradients moves it, or its batches cannot be shared equally.
        """
        problems = [*_unshareable(learner), *self._indivisible(batch_size)]
        if problems:
            raise ConfigError(problems)
        assert isinstance(learner, LearnsInBatches), "nothing else can be shared"
        for part in learner.parts.values():
            if isinstance(part, GradientStep):
                part.average = self.average

    def _indivisible(self, batch_size: int) -> Iterator[ConfigProblem]:
        if batch_size % self.count:
            problem = f"{batch_size} rows cannot be shared equally by {self.count} processes"
            remedy = f"use a multiple of {self.count}"
            yield ConfigProblem("agent.schedule.batch_size", problem, remedy)

    def part(self, batch: _Batch) -> _Batch:
        """The rows of `batch` that are this rank's; its size is a multiple of `count`."""
        return batch.split(self.count)[self.rank]

    def average(self, gradient: torch.Tensor) -> None:
        """Replaces `gradient` by its mean over all ranks.

        Raises:
            RankLostError: another rank is gone, or silent for longer than `PATIENCE`.
        """
        with together():
            dist.all_reduce(gradient)
            gradient.div_(self.count)

    def gathered(self, part: torch.Tensor) -> torch.Tensor:
        """`[B]`: what each rank has found for its rows, `[B / count]`, in the order of the batch.

        Raises:
            RankLostError: as above.
        """
        found = [torch.empty_like(part) for _ in range(self.count)]
        with together():
            dist.all_gather(found, part)
        return torch.cat(found)


def _unshareable(learner: PolicyLearner) -> Iterator[ConfigProblem]:
    remedy = "train it in one process"
    if not isinstance(learner, LearnsInBatches) or not learner.moves_by_gradient_alone:
        problem = "it is moved by more than gradients, which several ranks cannot share"
        yield ConfigProblem("agent", problem, remedy)
    elif hasattr(learner, "learn_rollout"):
        problem = "it learns from whole episodes, whose steps several ranks cannot share equally"
        yield ConfigProblem("agent", problem, remedy)


@contextmanager
def together() -> Iterator[None]:
    """For what all ranks do at once.

    Raises:
        RankLostError: it failed; torch says so by whatever is at hand.
    """
    try:
        yield
    except RuntimeError as error:
        raise RankLostError(f"the other processes of this training are lost: {error}") from error
