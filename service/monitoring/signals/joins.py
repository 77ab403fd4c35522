"""How decisions end: rewarded, defaulted, or dropped, and for which reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

import numpy as np

from agent_core.monitoring.storage import Stored
from agent_core.types import Doubles, Integers
from service.joining.logic import Outcome as Ending
from service.monitoring.readings import Reading, finite
from service.monitoring.rows import Outcome

ENDINGS: Final[tuple[str, ...]] = get_args(Ending)
_WORSE: Final = {"rewarded": -1, "unreadable": 1, "no_successor": 1}
"""Which way is worse. Of the others only a person can say."""


@dataclass(frozen=True, slots=True, eq=False)
class EndingCounts(Stored):
    """`counts`: `[7]` int64, in the order of `ENDINGS`."""

    counts: Integers

    def merged(self, other: EndingCounts) -> EndingCounts:
        return EndingCounts(self.counts + other.counts)

    @property
    def shares(self) -> Doubles:
        """`[7]`, which sum to 1."""
        shares: Doubles = self.counts / self.counts.sum()
        return shares


@dataclass(frozen=True, slots=True)
class Joins:
    """`errors`: standard errors between two shares from which they count as different."""

    errors: float
    name: str = "joins"
    kind: Any = EndingCounts

    def of(self, rows: Sequence[Outcome]) -> EndingCounts:
        places = [ENDINGS.index(row.joined.outcome) for row in rows]
        return EndingCounts(np.bincount(places, minlength=len(ENDINGS)))

    def read(
        self, window: EndingCounts, reference: EndingCounts | None, before: Any
    ) -> list[Reading]:
        if reference is None:
            return []
        found = []
        for ending, sign in _WORSE.items():
            worse = finite(sign * share_z(window, reference, ENDINGS.index(ending)))
            is_beyond = worse > self.errors
            found.append(
                Reading(
                    signal="joins", kind=ending, value=worse, limit=self.errors, is_beyond=is_beyond
                )
            )
        return found


def share_z(window: EndingCounts, reference: EndingCounts, at: int) -> float:
    """Standard errors between the shares of ending `at`, by the pooled share; 0 where both are 0 or both 1."""
    n, m = int(window.counts.sum()), int(reference.counts.sum())
    pooled = float(window.counts[at] + reference.counts[at]) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    apart = float(window.shares[at] - reference.shares[at])
    return apart / error if error > 0 else 0.0
