"""What decisions cost in a window, beside the budgets. The evidence over all windows is `service.trips.constraints`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent_core.monitoring.moments import ColumnMoments
from service.monitoring.readings import Reading
from service.monitoring.rows import Outcome
from service.trips.constraints import costs_of
from service.trips.rule import ConstraintRule


@dataclass(frozen=True, slots=True)
class Constraints:
    """`rules`: by name."""

    rules: Mapping[str, ConstraintRule]
    name: str = "constraints"
    kind: Any = ColumnMoments

    def of(self, rows: Sequence[Outcome]) -> ColumnMoments | None:
        decisions = [(row.joined.cost, row.joined.components) for row in rows]
        if not self.rules or not decisions:
            return None
        return ColumnMoments.of(
            np.column_stack([costs_of(rule, decisions) for rule in self.rules.values()])
        )

    def read(self, window: ColumnMoments, reference: Any, before: Any) -> list[Reading]:
        return [
            Reading(
                signal=f"constraint:{name}",
                kind="mean",
                value=mean,
                limit=rule.budget,
                is_beyond=mean > rule.budget,
            )
            for (name, rule), mean in zip(self.rules.items(), window.mean.tolist(), strict=True)
        ]
