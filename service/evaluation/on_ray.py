"""The same work as Ray tasks, for `evaluate(..., run=on_ray())`; needs the extra `nacre[ray]`.

Tasks read and write the folder that columns are kept in, so on several machines it must be one that all see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from service.evaluation.parallel import A, B, Run, windowed


def on_ray() -> Run:
    """By the cluster that `ray.init` has connected to, twice as many tasks at once as it has processors."""
    import ray

    width = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))

    def run(work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
        task: Any = ray.remote(_applied)
        # Stored once and shared, in place of being sent along with every task.
        shared = ray.put(work)
        return windowed(lambda item: task.remote(shared, item), items, width, ray.get)

    return run


def _applied(work: Callable[[A], B], item: A) -> B:
    return work(item)
