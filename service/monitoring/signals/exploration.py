"""Whether anything is still tried: the entropy of decisions, as a share of that of uniform ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from agent_core.monitoring.propensities import EntropySums
from service.monitoring.readings import Reading
from service.monitoring.rows import Seen, choices_of

_EXPLORED: Final = 10.0
"""Times the limit: a policy that hardly explored at first has nothing to collapse from."""


@dataclass(frozen=True, slots=True)
class Exploration:
    """`least`: the mean share below which exploration has collapsed."""

    least: float
    name: str = "exploration"
    kind: Any = EntropySums

    def of(self, rows: Sequence[Seen]) -> EntropySums | None:
        found = choices_of([row for row in rows if row.is_judged])
        return EntropySums.of(found[0]) if found else None

    def read(
        self, window: EntropySums, reference: EntropySums | None, before: Any
    ) -> list[Reading]:
        if reference is None or math.isnan(window.mean) or math.isnan(reference.mean):
            return []
        did_explore = reference.mean > _EXPLORED * self.least
        is_low = did_explore and window.mean < self.least
        return [
            Reading(
                signal="exploration",
                value=window.mean,
                limit=self.least,
                is_beyond=is_low,
                is_severe=is_low,
            )
        ]
