"""Chooses how updates are made."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock, Thread
from typing import NamedTuple, TypeVar

from agent_core.interfaces import Splittable, Update
from agent_core.policy_learners.parts import LearnsInBatches
from agent_core.training.engine.batches import form_of, longest_table, room_of
from agent_core.training.engine.program import (
    UpdateStep,
    owner_of,
    prepare_compiler,
    state_of,
    twin_of,
)
from agent_core.training.engine.routing import Precision
from agent_core.training.engine.trial import PLAIN, Form, fastest, told
from agent_core.training.parallel import Ranks

_log = logging.getLogger(__name__)
_Batch = TypeVar("_Batch", bound=Splittable)


class Kind(NamedTuple):
    """What a program is made for. `step`: name of the learner's method. `due`: which of the updates are the last of a
    period. `form`: of the batches, `form_of`. `room`: as in `room_of`."""

    step: str
    due: tuple[bool, ...]
    form: Hashable
    room: int | None


class UpdateEngine:
    """Makes updates by calling the learner, until there is something better.

        engine = UpdateEngine(tune_after_updates=100_000)
        updates = engine.run(learner.update, batches, count)

    After so many updates on batches of one form (0: at once) other ways to make them are built and tried in the
    background, on copies of the learner. The fastest that agrees with the plain one takes over. No compiler is
    ever waited for, only the turns of a trial, and what fails is left out: the plain way always works. Sets of
    different sizes are given to programs in tables of few sizes, each of which has a program of its own. `ranks`: the
    processes that share the work; each has its rows of every batch, and there is the plain form alone.
    """

    def __init__(
        self,
        tune_after_updates: int,
        precision: Precision = "full",
        ranks: Ranks | None = None,
    ) -> None:
        self._tune_after = tune_after_updates
        self._precision: Precision = precision
        self._made: Counter[Kind] = Counter()
        self._forms: dict[Kind, Future[Form]] = {}
        self._ranks = ranks
        self._one_at_a_time = Lock()

    def run(self, step: Callable[[_Batch], Update], batches: _Batch, count: int) -> list[Update]:
        """`step`, a method of a learner, on each of the `count` parts of `batches`."""
        if self._ranks is not None:
            return [step(self._ranks.part(one)) for one in batches.split(count)]
        if _is_large(owner_of(step)) or longest_table(batches) > count * _LONG:
            return [self._run(step, one, 1)[0] for one in batches.split(count)]
        return self._run(step, batches, count)

    def _run(self, step: Callable[[_Batch], Update], batches: _Batch, count: int) -> list[Update]:
        if not owner_of(step).can_be_compiled:
            return PLAIN.run(step, batches, count)
        due, room = owner_of(step).due(count), room_of(batches, count)
        kind = Kind(step.__name__, due, form_of(batches), room)
        return self._form(kind, step, batches, count).run(step, batches, count)

    def forget(self) -> None:
        """For a learner that was given another state: a program holds what no update changes as it was."""
        self._forms.clear()
        self._made.clear()

    def settle(self) -> dict[Kind, Form]:
        """Waits for what is being built; the form of each kind of batch."""
        return {kind: form.result() for kind, form in self._forms.items()}

    def _form(
        self, kind: Kind, step: Callable[[_Batch], Update], batches: _Batch, count: int
    ) -> Form:
        known = self._forms.get(kind)
        if known is not None:
            return known.result() if known.done() else PLAIN
        self._made[kind] += count
        if self._made[kind] > self._tune_after and self._is_admitted(kind.room):
            self._forms[kind] = self._in_background(twin_of(step), batches, count)
        return PLAIN

    def _is_admitted(self, room: int | None) -> bool:
        """Whether programs are made for tables of this size: not for more than a few."""
        known = {kind.room for kind in self._forms} - {None}
        return room is None or room in known or len(known) < _MOST_ROOMS

    def _in_background(self, twin: UpdateStep, batches: Splittable, count: int) -> Future[Form]:
        """The fastest form, found on a copy of the learner while that goes on."""
        found: Future[Form] = Future()
        prepare_compiler()

        def find() -> None:
            with self._one_at_a_time:
                try:
                    found.set_result(fastest(twin, batches, count, self._precision))
                except Exception as error:  # noqa: BLE001  # a trial must not end a training that works
                    _log.warning("updates stay plain: a trial failed: %s", told(error))
                    found.set_result(PLAIN)

        # A daemon: a process that ends does not wait for a compiler.
        Thread(target=find, name="update-engine", daemon=True).start()
        return found


def _is_large(learner: LearnsInBatches) -> bool:
    """Whether an update takes so long that it gains nothing from being compiled together with others, which
    takes as many times longer to compile."""
    return sum(tensor.numel() for tensor in state_of(learner)) > _LARGE


_MOST_ROOMS = 8
"""Sizes of tables, and so minutes of a compiler: a table may grow to four times what it was."""
_LONG = 2048
"""Actions in the table of an update, from which on it gains little from being compiled together with others: DQN with
64x64 units and 2,800 actions in a batch of 256 was 1.9 times as fast as plain one by one, and 2.0 times in eights."""
_LARGE = 200_000
"""Numbers that an update changes: 43,000 for DQN with 120x84 units, 850,000 for SAC with 256x256."""
