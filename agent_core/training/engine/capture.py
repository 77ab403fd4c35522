"""A function on tensors as a CUDA graph: one launch in place of hundreds.

Unmeasured: what is tested is that results and state come out right, with a stand-in for the GPU's recorder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch

Function: TypeAlias = Callable[..., Sequence[torch.Tensor]]
Recorder: TypeAlias = Callable[
    [Callable[[], Sequence[torch.Tensor]]], tuple[list[torch.Tensor], Callable[[], None]]
]
"""Takes a function without arguments; gives tensors, and a call that fills them as the function would."""


def captured(
    function: Function, example: Sequence[torch.Tensor], changed: int, record: Recorder
) -> Function:
    """`function`, which changes the first `changed` of its arguments in place, in recorded form.

    A recording works on memory of its own: arguments are copied there, and what it changed is copied back.
    """
    own = [tensor.clone() for tensor in example]
    results, replay = record(lambda: function(*own))

    def run(*arguments: torch.Tensor) -> list[torch.Tensor]:
        torch._foreach_copy_(own, list(arguments))
        replay()
        torch._foreach_copy_(list(arguments[:changed]), own[:changed])
        return [result.clone() for result in results]

    return run


def record_on_gpu(
    function: Callable[[], Sequence[torch.Tensor]],
) -> tuple[list[torch.Tensor], Callable[[], None]]:
    """Warms up on a stream of its own, as torch asks for, and records one call."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = list(function())
    return results, graph.replay


_WARM_UP = 3
