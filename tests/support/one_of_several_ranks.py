"""Trains one learner together with the other processes that torchrun started; rank 0 writes what came out.

python -m torch.distributed.run --nproc-per-node 2 -m tests.support.one_of_several_ranks KIND FILE
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from agent_core.replay.fifo import FifoConfig
from agent_core.training.agent_learner import AgentLearner
from agent_core.training.parallel import Ranks
from agent_core.training.schedule import ScheduleConfig
from tests.support.learners import LEARNERS, made_up, spec_of

_SCHEDULE = ScheduleConfig(batch_size=16, warmup_transitions=20, seed=3)


def weights_after(kind: str, ranks: Ranks | None) -> dict[str, torch.Tensor]:
    """The policy after 100 transitions and 80 updates."""
    config = {one.model_fields["kind"].default: one for one in LEARNERS}[kind]()
    spec = spec_of(config)
    learner = AgentLearner(config, FifoConfig(capacity=64), _SCHEDULE, spec, ranks=ranks)
    learner.learn(made_up(100, spec=spec))
    return {name: value.clone() for name, value in learner.policy.state_dict().items()}


def main() -> None:
    torch.set_num_threads(1)
    ranks = Ranks.joined(torch.device("cpu"))
    weights = weights_after(sys.argv[1], ranks)
    if ranks.rank == 0:
        save_file(weights, Path(sys.argv[2]))
    ranks.leave()


if __name__ == "__main__":
    main()
