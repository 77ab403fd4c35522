"""What every rank but the first does: what rank 0 tells it, until that is to stop.

It needs no Redis and no files. Its learners have seen what those of rank 0 have, and hold the same weights.
"""

from __future__ import annotations

import torch

from agent_core.errors import RankLostError
from agent_core.interfaces import TrainingState
from agent_core.learner import learner_of
from agent_core.training.agent_learner import AgentLearner
from agent_core.training.line import Line
from agent_core.training.parallel import Ranks
from service.learning.orders import (
    Build,
    Learn,
    Load,
    MakeUpdates,
    Order,
    Stay,
    Stop,
    block_of,
    decoded,
)


class Follower:
    """One rank. `learners`: by the numbers that rank 0 gave them."""

    def __init__(self, ranks: Ranks, device: torch.device) -> None:
        self._ranks = ranks
        self._device = device
        self._line = Line()
        self.learners: dict[int, AgentLearner] = {}

    def follow(self) -> None:
        """Returns when rank 0 says so.

        Raises:
            RankLostError: a rank is gone, or failed where others did not.
        """
        order: Order | None = None
        while not isinstance(order, Stop):
            order, tensors = decoded(*self._line.hear())
            try:
                with self._line.agreed():
                    self._carry_out(order, tensors)
            except RankLostError:
                raise
            except Exception:  # noqa: BLE001, S112  # rank 0 failed alike, and tells of it
                continue

    def _carry_out(self, order: Order, tensors: TrainingState) -> None:
        match order:
            case Build():
                learner = learner_of(order.config(), self._device, self._ranks)
                self.learners[order.learner] = learner
            case Learn():
                self.learners[order.learner].learn(block_of(tensors))
            case MakeUpdates():
                self.learners[order.learner].extra_updates(order.count)
            case Load():
                self.learners[order.learner].load_training_state(tensors)
            case Stay():
                needed = set(order.learners)
                self.learners = {n: one for n, one in self.learners.items() if n in needed}
            case Stop():
                pass
