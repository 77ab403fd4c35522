"""Rank 0 of a training by several processes: what its learners do, all ranks do.

    async with leading(ranks) as lead:
        learner = LeadingLearner(config.agent, device, lead)
        learner.learn(block)                every other rank does the same, see `follow`

Calls may come from several threads; ranks carry out one order at a time, all of them in the same order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from threading import RLock
from typing import Final
from weakref import WeakValueDictionary

import torch

from agent_core.config import AgentConfig
from agent_core.errors import RankLostError
from agent_core.interfaces import ServedPolicy, TrainingState
from agent_core.learner import learner_of
from agent_core.training.line import Line
from agent_core.training.parallel import Ranks
from agent_core.types import TransitionBlock
from service.learning.orders import (
    Build,
    Learn,
    Load,
    MakeUpdates,
    Order,
    Stay,
    Stop,
    encoded,
    tensors_of,
)
from service.workers.pause import pause

_STAY_S: Final = 1.0
"""How often idle ranks hear that there is nothing to do: so soon each notices when the other is gone."""


class Lead:
    """Gives orders to the other ranks."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self._line = Line()
        self._turn = RLock()
        self._loss = ""
        self._numbers = count(1)
        self._learners: WeakValueDictionary[int, LeadingLearner] = WeakValueDictionary()

    def number(self, learner: LeadingLearner) -> int:
        """By which others know a new learner, for as long as it lives here."""
        number = next(self._numbers)
        self._learners[number] = learner
        return number

    @contextmanager
    def telling(self, order: Order, tensors: TrainingState) -> Iterator[None]:
        """Has the others carry out `order` while the block inside does the same here.

        Raises:
            RankLostError: one of them is gone, or failed where others did not.
        """
        with self._turn:
            if self._loss:  # waiting for the others once more would take as long again
                raise RankLostError(self._loss)
            try:
                self._line.tell(*encoded(order, tensors))
                with self._line.agreed():
                    yield
            except RankLostError as error:
                self._loss = str(error)
                raise

    async def keep_company(self, over: asyncio.Event) -> None:
        """Talks to the others now and then until `over` is set, so that none takes this one for lost.

        Raises:
            RankLostError: one of them is gone.
        """
        while not over.is_set():
            await asyncio.to_thread(self.stay)
            await pause(over, _STAY_S)

    def stay(self) -> None:
        """Has the others forget the learners that are gone here, and shows whether they are still there."""
        with self._turn, self.telling(Stay(sorted(self._learners)), {}):
            pass

    def stop(self) -> None:
        """Lets the others go."""
        with self.telling(Stop(), {}):
            pass


@asynccontextmanager
async def leading(ranks: Ranks) -> AsyncIterator[Lead]:
    """A lead for as long as the block lasts; then all ranks part.

    Raises:
        ExceptionGroup: of a `RankLostError`: one of them is gone, and what is in memory here is not to be kept.
    """
    lead, over = Lead(ranks), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(lead.keep_company(over))
        yield lead
        over.set()
    lead.stop()
    ranks.leave()


class LeadingLearner:
    """What `AgentLearner` is, of which every rank has one."""

    def __init__(self, agent: AgentConfig, device: torch.device, lead: Lead) -> None:
        self._lead = lead
        self._number = lead.number(self)
        with lead.telling(Build.of(self._number, agent), {}):
            self._own = learner_of(agent, device, lead.ranks)

    @property
    def policy(self) -> ServedPolicy:
        return self._own.policy

    @property
    def experience(self) -> int:
        return self._own.experience

    @property
    def updates(self) -> int:
        return self._own.updates

    def learn(self, block: TransitionBlock) -> dict[str, float]:
        with self._lead.telling(Learn(self._number), tensors_of(block)):
            return self._own.learn(block)

    def extra_updates(self, count: int) -> dict[str, float]:
        with self._lead.telling(MakeUpdates(self._number, count), {}):
            return self._own.extra_updates(count)

    def training_state(self) -> TrainingState:
        return self._own.training_state()

    def load_training_state(self, state: TrainingState) -> None:
        with self._lead.telling(Load(self._number), state):
            self._own.load_training_state(state)
