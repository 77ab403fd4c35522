"""How shards are worked on: one after the other, or by several processes; the results keep their order."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeVar

_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
A = TypeVar("A")
B = TypeVar("B")


class Run(Protocol):
    """Applies a function to each of some items; both can be sent to another process."""

    def __call__(self, work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]: ...


def in_turn(work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """In this process."""
    return map(work, items)


@contextmanager
def processes(count: int) -> Iterator[Run]:
    """By `count` processes, in this one if that is 1. A fork would copy locks that threads hold, so they are
    started anew."""
    if count == 1:
        yield in_turn
        return
    context = multiprocessing.get_context("spawn")
    with _one_thread_each(), ProcessPoolExecutor(count, mp_context=context) as pool:

        def run(work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
            return windowed(lambda item: pool.submit(work, item), items, 2 * count, Future.result)

        yield run


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """For processes that start meanwhile: matrices on several threads would only get in each other's way."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def windowed(
    submit: Callable[[A], Any], items: Iterable[A], width: int, take: Callable[[Any], B]
) -> Iterator[B]:
    """The results of `items` in order, with at most `width` of them under way: a log is not read ahead of
    those who work on it."""
    waiting: deque[Any] = deque()
    for item in items:
        if len(waiting) == width:
            yield take(waiting.popleft())
        waiting.append(submit(item))
    while waiting:
        yield take(waiting.popleft())
