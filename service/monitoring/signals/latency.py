"""How long decisions take, and how many ran out of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent_core.monitoring.quantiles import QuantileSketch
from agent_core.monitoring.storage import Stored
from service.monitoring.readings import Reading
from service.monitoring.rows import Seen
from service.trips.rule import LatencyTrip


@dataclass(frozen=True, slots=True, eq=False)
class LatencySums(Stored):
    """`took_ms`: of `count` decisions, of which `late` were answered by the fallback because time had run out."""

    count: int
    late: int
    took_ms: QuantileSketch

    def merged(self, other: LatencySums) -> LatencySums:
        took_ms = self.took_ms.merged(other.took_ms)
        return LatencySums(self.count + other.count, self.late + other.late, took_ms)


@dataclass(frozen=True, slots=True)
class Latency:
    """`budget`: what a window may need."""

    budget: LatencyTrip
    name: str = "latency"
    kind: Any = LatencySums

    def of(self, rows: Sequence[Seen]) -> LatencySums | None:
        judged = [row.sample for row in rows if row.is_judged]
        if not judged:
            return None
        took_ms = np.array([one.took_us / 1000 for one in judged])
        late = sum(one.is_late for one in judged)
        return LatencySums(len(judged), late, QuantileSketch.of(took_ms))

    def read(self, window: LatencySums, reference: Any, before: Any) -> list[Reading]:
        share = window.late / window.count
        found = [_reading("deadline", share, self.budget.deadline_share)]
        if self.budget.p99_ms is not None:
            found.append(_reading("p99", window.took_ms.quantile(0.99), self.budget.p99_ms))
        return found


def _reading(kind: str, value: float, limit: float) -> Reading:
    is_over = value > limit
    return Reading(
        signal="latency", kind=kind, value=value, limit=limit, is_beyond=is_over, is_severe=is_over
    )
