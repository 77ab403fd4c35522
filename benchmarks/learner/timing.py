"""From steps to numbers. The measure is processor time of this process, which neighbours hardly move; ratios are
medians over rounds of the ratio inside a round: both sides saw the same machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

from benchmarks.learner.contestant import Contestant


def window(contestant: Contestant, seconds: float) -> float:
    """Processor microseconds per update, over `seconds` of steps; one step at least."""
    started_s, spent_s, updates = time.process_time(), 0.0, 0
    while spent_s < seconds:
        contestant.step()
        updates += contestant.updates
        spent_s = time.process_time() - started_s
    return spent_s / updates * 1e6


def paired_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median over rounds of `above` over `below`.

    Raises: ValueError: they are not of the same rounds.
    """
    return median(one / other for one, other in zip(above, below, strict=True))
