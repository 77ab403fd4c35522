"""Which actions are taken, beside those that were taken at first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent_core.monitoring.histograms import Counts, psi, psi_p_values
from service.monitoring.readings import Reading
from service.monitoring.rows import CELLS, Seen


@dataclass(frozen=True, slots=True)
class TakenActions:
    """`p_value`: below it, both distributions differ. Ids are hashed to 64 cells."""

    p_value: float
    name: str = "actions"
    kind: Any = Counts

    def of(self, rows: Sequence[Seen]) -> Counts | None:
        taken = [
            row.sample.cells[row.sample.position]
            for row in rows
            if row.is_judged and row.sample.position >= 0
        ]
        return Counts(np.bincount(taken, minlength=CELLS)[None]) if taken else None

    def read(self, window: Counts, reference: Counts | None, before: Any) -> list[Reading]:
        if reference is None:
            return []
        p = float(psi_p_values(reference.rows, window.rows)[0])
        return [
            Reading(
                signal="actions",
                kind="psi",
                value=float(psi(reference.rows, window.rows)[0]),
                limit=self.p_value,
                is_beyond=p < self.p_value,
                p_value=p,
            )
        ]
