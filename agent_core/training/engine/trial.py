"""Builds the forms that updates can be made in, checks them against the plain one, and keeps the fastest."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch

from agent_core.interfaces import Splittable, Update
from agent_core.training.engine.batches import in_room, room_of
from agent_core.training.engine.program import (
    Program,
    UpdateStep,
    owner_of,
    programs,
    state_of,
    twin_of,
)
from agent_core.training.engine.routing import DEFAULT, Precision, Route, routed, routes

_log = logging.getLogger(__name__)


class Form(NamedTuple):
    """A way to make updates. `program`: None for calls of the learner's own method. `room`: for how many rows of a
    table of sets that differ in size the program is, see `room_of`. `speed`: over that of the plain form."""

    program: Program | None
    route: Route
    room: int | None = None
    speed: float = 1.0

    @property
    def name(self) -> str:
        return f"{'plain' if self.program is None else self.program.kind}, matmul {self.route}"

    def run(self, step: UpdateStep, batches: Splittable, count: int) -> list[Update]:
        with routed(self.route):
            if self.program is not None:
                return self.program.run(owner_of(step), in_room(batches, count, self.room))
            return [step(one) for one in batches.split(count)]


PLAIN = Form(None, DEFAULT)


def fastest(step: UpdateStep, batches: Splittable, count: int, precision: Precision) -> Form:
    """The fastest of all forms that agree with the plain one; the learner of `step` is left as it is."""
    room = room_of(batches, count)
    built = [None, *_built(step, in_room(batches, count, room), count)]
    ways = [(program, route) for route in routes(precision) for program in built]
    forms = [Form(program, route, room if program else None) for program, route in ways]
    agreeing = [form for form in forms if _agrees(form, step, batches, count, precision)]
    seconds = _timed(agreeing, step, batches, count)
    best = min(range(len(agreeing)), key=lambda i: seconds[i])
    chosen = agreeing[best]._replace(speed=seconds[0] / seconds[best])
    _log.info("updates are made %s: %.1f times the plain form", chosen.name, chosen.speed)
    return chosen


def _built(step: UpdateStep, batches: Splittable, count: int) -> list[Program]:
    """The compiled form; nothing where there is no compiler, or where it cannot do it."""
    try:
        return programs(twin_of(step), batches, count)
    except Exception as error:  # noqa: BLE001  # a compiler may raise anything; the plain form is there
        _log.info("updates are not compiled: %s", told(error))
        return []


def told(error: Exception) -> str:
    """Its type and first line: what a compiler raises has the stack of a whole program below."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _agrees(
    form: Form, step: UpdateStep, batches: Splittable, count: int, precision: Precision
) -> bool:
    """Whether the state after one block, and after about 100 updates, is that of the plain form.

    One of several blocks is enough. Where a unit is active for a single row by a hair, or a gradient is nothing but
    rounding, Adam makes a whole step of the last bits; that is rare, and what is wrong is so every time.
    """
    if form == PLAIN:
        return True
    plain, blocks = twin_of(step), -(-_LONG_RUN // count)
    try:
        short = min(_apart(form, plain, batches, count, 1) for _ in range(_TRIES))
        long = _apart(form, plain, batches, count, blocks)
    except Exception as error:  # noqa: BLE001  # a program may raise anything; the others may do
        _log.warning("updates %s are refused: %s", form.name, told(error))
        return False
    if short <= _TOLERANCE[precision] and long <= _LONG_TOLERANCE[precision]:
        return True
    _log.warning("updates %s are refused: they differ by %.1e and %.1e", form.name, short, long)
    return False


def _apart(form: Form, plain: UpdateStep, batches: Splittable, count: int, blocks: int) -> float:
    """How far `form` is from the plain one when both go on from where `plain` is; NaN if it is no number."""
    other = twin_of(plain)
    for _ in range(blocks):
        _run_again(PLAIN, plain, batches, count)
        _run_again(form, other, batches, count)
    return _distance(state_of(owner_of(other)), state_of(owner_of(plain)))


def _run_again(form: Form, step: UpdateStep, batches: Splittable, count: int) -> None:
    """Updates at the place in a period that the form was built for, which is therefore left where it was."""
    learner = owner_of(step)
    before = learner.updates
    form.run(step, batches, count)
    learner.updates = before


def _distance(state: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor]) -> float:
    """The norm of the difference over the norm of what is wanted, of all numbers together.

    Not of each tensor: a weight whose gradient is nothing but rounding, such as the last bias of a softmax,
    walks at random, and as far in any form.
    """
    pairs = [
        (a.double(), b.double())
        for a, b in zip(state, wanted, strict=True)
        if a.is_floating_point()
    ]
    apart = sum(float((one - other).square().sum()) for one, other in pairs)
    size = sum(float(other.square().sum()) for _, other in pairs)
    return math.sqrt(apart / max(size, _TINY))


def _timed(forms: Sequence[Form], step: UpdateStep, batches: Splittable, count: int) -> list[float]:
    """The fastest of several runs of each; they take turns, so that all meet the same noise."""
    twins = [twin_of(step) for _ in forms]
    seconds = [float("inf")] * len(forms)
    for _ in range(_ROUNDS):
        for i, (form, twin) in enumerate(zip(forms, twins, strict=True)):
            start = time.perf_counter()
            _run_again(form, twin, batches, count)
            seconds[i] = min(seconds[i], time.perf_counter() - start)
    return seconds


_ROUNDS = 10
_TINY = 1e-30
_LONG_RUN = 100
_TRIES = 3
_TOLERANCE: dict[Precision, float] = {"full": 1e-4, "bf16": 0.1}
_LONG_TOLERANCE: dict[Precision, float] = {"full": 1e-2, "bf16": 0.5}
