"""Several updates of a learner as one compiled function.

The learner's own method is run once on stand-ins that note down every operation (Reed et al. 2022,
"torch.fx"), backward passes included. What comes out is a straight line of operations on tensors, which a
compiler merges into a few loops: no Python, and no dispatch, is left in it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, TypeVar

import torch
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from agent_core.interfaces import Splittable, Update
from agent_core.policy_learners.parts import LearnsInBatches, Part
from agent_core.training.engine.batches import rebuilt, tensors_of
from agent_core.training.engine.capture import Function, captured, record_on_gpu
from agent_core.training.engine.products import DECOMPOSITIONS, keep_sums_apart

_Batch = TypeVar("_Batch", bound=Splittable)
UpdateStep = Callable[[Any], Update]
"""A method of a learner: one update on one batch."""


def owner_of(step: UpdateStep) -> LearnsInBatches:
    """The learner whose method `step` is."""
    owner = getattr(step, "__self__", None)
    if not isinstance(owner, LearnsInBatches):
        raise TypeError(f"{step} is not a method of a learner")
    return owner


def twin_of(step: UpdateStep) -> UpdateStep:
    """The same method of a copy of the learner, which shares nothing with it."""
    twin: UpdateStep = getattr(copy.deepcopy(owner_of(step)), step.__name__)
    return twin


def state_of(learner: LearnsInBatches) -> list[torch.Tensor]:
    """All tensors that an update of `learner` changes."""
    return [tensor for part in _parts(learner) for tensor in part.state]


class Program:
    """One update on each part of a batch of a certain form.

    `run` works in place on the state of the learner that it is given. `counted`: how many updates the
    learner counted where it made them itself.
    """

    def __init__(self, kind: str, function: Function, names: list[list[str]], counted: int) -> None:
        self.kind = kind
        self._function = function
        self._names = names
        self._counted = counted

    def run(self, learner: LearnsInBatches, batches: Splittable) -> list[Update]:
        with torch.no_grad():
            results = self._function(*state_of(learner), *tensors_of(batches))
        learner.updates += self._counted
        numbers, errors = iter(results[0].unbind()), results[1:]
        metrics = [{name: next(numbers) for name in names} for names in self._names]
        return [Update(one, errors[i] if errors else None) for i, one in enumerate(metrics)]


@cache
def prepare_compiler() -> None:
    """To be called where updates are made, before the compiler works beside them.

    Once in a process it traces a function by replacing `Module.__call__` for a moment, in all threads: an update
    that is made right then would be taken for a part of that function, and fail.
    """
    with suppress(ImportError, AttributeError):  # another version of torch may have no need of it
        from torch._inductor.loop_body import InterpreterShim

        InterpreterShim._dummy_gm()


def programs(step: UpdateStep, batches: Splittable, count: int) -> list[Program]:
    """Takes from seconds to minutes. Destroys the learner of `step`: give it a `twin_of`.

    Raises whatever tracing and compiling raise; the caller then does without.
    """
    changed, before = len(state_of(owner_of(step))), owner_of(step).updates
    graph, names, example = traced(step, batches, count)
    counted = owner_of(step).updates - before
    compiled = torch._inductor.compile(graph, [*example], options=_OPTIONS)
    made = [Program("compiled", compiled, names, counted)]
    if example[0].is_cuda:
        recording = captured(compiled, example, changed, record_on_gpu)
        made.append(Program("recorded", recording, names, counted))
    return made


def traced(
    step: UpdateStep, batches: _Batch, count: int
) -> tuple[GraphModule, list[list[str]], list[torch.Tensor]]:
    """The graph, the names of the metrics of each update, and arguments as the graph takes them."""
    parts = _parts(owner_of(step))
    sizes = [len(part.state) for part in parts]
    names: list[list[str]] = []

    def program(*arguments: torch.Tensor) -> list[torch.Tensor]:
        left = iter(arguments)
        for part, size in zip(parts, sizes, strict=True):
            part.rebase([next(left) for _ in range(size)])
        made = [step(one) for one in rebuilt(batches, left).split(count)]
        names[:] = [list(update.metrics) for update in made]
        errors = [update.errors for update in made if update.errors is not None]
        return [_metrics(made), *errors]

    example = [tensor.clone() for tensor in state_of(owner_of(step))] + tensors_of(batches)
    on_host = not example[0].is_cuda
    decompositions = DECOMPOSITIONS if on_host else {}
    with _spelled_out():
        graph = make_fx(program, decompositions)(*[tensor.clone() for tensor in example])
    if on_host:
        keep_sums_apart(graph)
    for node in graph.graph.nodes:
        node.meta.clear()  # what the tracer knew of shapes belongs to it alone; the compiler asks again
    return graph, names, example


_OPTIONS: dict[str, Any] = {"cpp_wrapper": True}


@contextmanager
def _spelled_out() -> Iterator[None]:
    """Without oneDNN's kernel of a whole LSTM: compiled, its backward pass fails for want of a workspace, and gates
    that are spelled out can be merged with what is around them. The setting is one for the whole process;
    other threads take a slower kernel meanwhile."""
    backend: Any = torch.backends.mkldnn
    before, backend.enabled = backend.enabled, False
    try:
        yield
    finally:
        backend.enabled = before


def _parts(learner: LearnsInBatches) -> list[Part]:
    served: list[Part] = [] if learner.served is None else [learner.served]
    return served + list(learner.parts.values())


def _metrics(made: Sequence[Update]) -> torch.Tensor:
    """All metrics of all updates as one tensor: to take one apart costs less than to hand over many."""
    numbers = [number for update in made for number in update.metrics.values()]
    return torch.stack([number.detach().float().reshape(()) for number in numbers])
