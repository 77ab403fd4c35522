"""One of several ranks: the first leads, the others follow, and each writes what its learners became.

python -m torch.distributed.run --nproc-per-node 2 -m tests.support.led FOLDER [forgetful]

A forgetful follower keeps no learner: so it fails where rank 0 does not, and each writes how it learned of that.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from agent_core.config import parse_agent_config
from agent_core.errors import ConfigError, RankLostError
from agent_core.interfaces import TrainingState
from agent_core.training.collate import block_of
from agent_core.training.parallel import Ranks
from service.learning.follow import Follower
from service.learning.lead import Lead, LeadingLearner, leading
from service.learning.orders import Order
from tests.support.learners import fingerprint, made_up
from tests.support.policies import bandit, featured, sequential, steering, with_agent
from tests.support.training import CPU

AGENTS: list[dict[str, Any]] = [
    sequential()["agent"],
    with_agent(sequential(), replay={"kind": "prioritized", "capacity": 100})["agent"],
    with_agent(sequential(), policy_learner={"kind": "bootstrapped_dqn"})["agent"],
    featured()["agent"],
    steering()["agent"],
]
REFUSED = bandit()["agent"]


def main() -> None:
    torch.set_num_threads(1)
    ranks = Ranks.joined(CPU)
    try:
        held = asyncio.run(lead(ranks)) if ranks.rank == 0 else follow(ranks)
    except* RankLostError as lost:
        held = [str(lost.exceptions[0])]
    (Path(sys.argv[1]) / f"{ranks.rank}.json").write_text(json.dumps(held))
    if "forgetful" in sys.argv:
        os._exit(0)  # of two that end without having parted, the later one may be aborted by gloo


async def lead(ranks: Ranks) -> list[str]:
    async with leading(ranks) as lead:
        learners = [await asyncio.to_thread(trained, agent, lead) for agent in AGENTS]
        refusal = await asyncio.to_thread(refused, lead)
        await asyncio.to_thread(lead.stay)
    return [refusal, *(fingerprint(one.training_state()) for one in learners)]


def trained(document: dict[str, Any], lead: Lead) -> LeadingLearner:
    """A learner that has learned, made updates besides, and gone on from its own checkpoint."""
    agent = parse_agent_config(document)
    first, learner = (LeadingLearner(agent, CPU, lead) for _ in range(2))
    first.extra_updates(3)  # of nothing: none is made, and no rank waits for gradients
    first.learn(block_of(made_up(100, 0, agent.spec), agent.spec))
    first.extra_updates(3)
    learner.load_training_state(first.training_state())
    learner.learn(block_of(made_up(20, 1, agent.spec), agent.spec))
    return learner


def refused(lead: Lead) -> str:
    try:
        LeadingLearner(parse_agent_config(REFUSED), CPU, lead)
    except ConfigError as error:
        return str(error)
    return ""


def follow(ranks: Ranks) -> list[str]:
    follower = (Forgetful if "forgetful" in sys.argv else Follower)(ranks, CPU)
    follower.follow()
    ranks.leave()
    return [fingerprint(one.training_state()) for one in follower.learners.values()]


class Forgetful(Follower):
    def _carry_out(self, order: Order, tensors: TrainingState) -> None:
        super()._carry_out(order, tensors)
        self.learners.clear()


if __name__ == "__main__":
    main()
