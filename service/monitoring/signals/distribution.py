"""The distribution of one number, such as rewards or delays, from sketches that know no bins beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from agent_core.monitoring.histograms import psi, psi_p_values
from agent_core.monitoring.quantiles import QuantileSketch
from agent_core.types import Integers
from service.monitoring.readings import Reading
from service.monitoring.rows import Outcome
from service.monitoring.rule import SignalName

_GROUPS: Final = 10
ValueOf = Callable[[Outcome], float | None]


@dataclass(frozen=True, slots=True)
class Distribution:
    """`signal`: that it reads. `value_of`: the number of a row, None where it has none. `p_value`: below it, both distributions differ."""

    name: str
    signal: SignalName
    value_of: ValueOf
    p_value: float
    kind: Any = QuantileSketch

    def of(self, rows: Sequence[Outcome]) -> QuantileSketch | None:
        values = [value for row in rows if (value := self.value_of(row)) is not None]
        return QuantileSketch.of(np.array(values, np.float64)) if values else None

    def read(
        self, window: QuantileSketch, reference: QuantileSketch | None, before: Any
    ) -> list[Reading]:
        if reference is None:
            return []
        was, now = _grouped(reference, window)
        p = float(psi_p_values(was, now)[0])
        return [
            Reading(
                signal=self.signal,
                kind="psi",
                value=float(psi(was, now)[0]),
                limit=self.p_value,
                is_beyond=p < self.p_value,
                p_value=p,
            )
        ]


def reward_of(row: Outcome) -> float | None:
    return row.joined.reward


def delay_s_of(row: Outcome) -> float | None:
    """Seconds from the decision to its first reward."""
    return row.joined.delay_ms / 1000 if row.joined.delay_ms >= 0 else None


def _grouped(reference: QuantileSketch, window: QuantileSketch) -> tuple[Integers, Integers]:
    """`[1, G]` each: rows in the tenths of the reference, whose bins are so narrow that these are exact enough."""
    share = np.cumsum(reference.counts) / reference.counts.sum()
    wanted = np.arange(1, _GROUPS) / _GROUPS
    tops = np.unique(reference.places[np.searchsorted(share, wanted - 1e-9)])
    # What is below all of the reference, and above, has groups of its own where the reference ends in an atom.
    tops = np.unique(np.concatenate([[reference.places[0] - 1], tops, [reference.places[-1]]]))

    def counted(sketch: QuantileSketch) -> Integers:
        group = np.searchsorted(tops, sketch.places)
        counts = np.zeros(len(tops) + 1, np.int64)
        np.add.at(counts, group, sketch.counts)
        return counts[None]

    return counted(reference), counted(window)
