"""How far rewards are from what the policy expected of the action: the mean size of the error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent_core.monitoring.moments import ColumnMoments, mean_z
from service.monitoring.readings import Reading, finite
from service.monitoring.rows import Outcome, column


@dataclass(frozen=True, slots=True)
class ValueErrors:
    """`errors`: standard errors that the mean must have grown by."""

    errors: float
    name: str = "value_error"
    kind: Any = ColumnMoments

    def of(self, rows: Sequence[Outcome]) -> ColumnMoments | None:
        sizes = [
            abs(row.joined.reward - row.joined.value)
            for row in rows
            if row.joined.reward is not None and row.joined.value is not None
        ]
        return ColumnMoments.of(column(sizes)) if sizes else None

    def read(
        self, window: ColumnMoments, reference: ColumnMoments | None, before: Any
    ) -> list[Reading]:
        if reference is None:
            return []
        z = finite(float(mean_z(window, reference)[0]))
        is_beyond = z > self.errors
        return [Reading(signal="value_error", value=z, limit=self.errors, is_beyond=is_beyond)]
