"""Chooses how updates are made."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock, Thread
from typing import TypeVar

from agent_core.interfaces import Splittable, Update
from agent_core.policy_learners.parts import LearnsInBatches
from agent_core.training.engine.batches import form_of, is_ragged
from agent_core.training.engine.program import UpdateStep, owner_of, state_of, twin_of
from agent_core.training.engine.routing import Precision
from agent_core.training.engine.trial import PLAIN, Form, fastest
from agent_core.training.parallel import Ranks

_log = logging.getLogger(__name__)
_Batch = TypeVar("_Batch", bound=Splittable)


class UpdateEngine:
    """Makes updates by calling the learner, until there is something better.

        engine = UpdateEngine(tune_after_updates=100_000)
        updates = engine.run(learner.update, batches, count)

    After so many updates on batches of one form (0: at once) other ways to make them are built and tried in the
    background, on copies of the learner. The fastest that agrees with the plain one takes over. No compiler is
    ever waited for, only the turns of a trial, and what fails is left out: the plain way always works, and is
    the only one for sets of different sizes. `ranks`: the processes that share the work; each has its rows of every batch, and there is
    the plain form alone.
    """

    def __init__(
        self,
        tune_after_updates: int,
        precision: Precision = "full",
        ranks: Ranks | None = None,
    ) -> None:
        self._tune_after = tune_after_updates
        self._precision: Precision = precision
        self._made: Counter[Hashable] = Counter()
        self._forms: dict[Hashable, Future[Form]] = {}
        self._ranks = ranks
        self._one_at_a_time = Lock()

    def run(self, step: Callable[[_Batch], Update], batches: _Batch, count: int) -> list[Update]:
        """`step`, a method of a learner, on each of the `count` parts of `batches`."""
        if self._ranks is not None:
            return [step(self._ranks.part(one)) for one in batches.split(count)]
        if _is_large(owner_of(step)):
            return [self._run(step, one, 1)[0] for one in batches.split(count)]
        return self._run(step, batches, count)

    def _run(self, step: Callable[[_Batch], Update], batches: _Batch, count: int) -> list[Update]:
        if is_ragged(batches) or not owner_of(step).can_be_compiled:
            return PLAIN.run(step, batches, count)
        key = (step.__name__, owner_of(step).due(count), form_of(batches))
        return self._form(key, step, batches, count).run(step, batches, count)

    def forget(self) -> None:
        """For a learner that was given another state: a program holds what no update changes as it was."""
        self._forms.clear()
        self._made.clear()

    def settle(self) -> dict[Hashable, Form]:
        """Waits for what is being built; the form of each kind of batch."""
        return {key: form.result() for key, form in self._forms.items()}

    def _form(
        self, key: Hashable, step: Callable[[_Batch], Update], batches: _Batch, count: int
    ) -> Form:
        known = self._forms.get(key)
        if known is not None:
            return known.result() if known.done() else PLAIN
        self._made[key] += count
        if self._made[key] > self._tune_after:
            self._forms[key] = self._in_background(twin_of(step), batches, count)
        return PLAIN

    def _in_background(self, twin: UpdateStep, batches: Splittable, count: int) -> Future[Form]:
        """The fastest form, found on a copy of the learner while that goes on."""
        found: Future[Form] = Future()

        def find() -> None:
            with self._one_at_a_time:
                try:
                    found.set_result(fastest(twin, batches, count, self._precision))
                except Exception as error:  # noqa: BLE001  # a trial must not end a training that works
                    _log.warning("updates stay plain: a trial failed: %r", error)
                    found.set_result(PLAIN)

        # A daemon: a process that ends does not wait for a compiler.
        Thread(target=find, name="update-engine", daemon=True).start()
        return found


def _is_large(learner: LearnsInBatches) -> bool:
    """Whether an update takes so long that it gains nothing from being compiled together with others, which
    takes as many times longer to compile."""
    return sum(tensor.numel() for tensor in state_of(learner)) > _LARGE


_LARGE = 200_000
"""Numbers that an update changes: 43,000 for DQN with 120x84 units, 850,000 for SAC with 256x256."""
