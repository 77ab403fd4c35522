"""Whether logged probabilities hold: the mean weight, and how often each action was taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent_core.evaluation.diagnostics import WeightSums
from agent_core.evaluation.logged import segment_sum
from agent_core.monitoring.propensities import (
    ActionCounts,
    Choices,
    action_p_value,
    weight_z,
)
from agent_core.monitoring.storage import Stored
from agent_core.types import Doubles
from service.monitoring.readings import Reading, finite
from service.monitoring.rows import CELLS, Seen, choices_of


@dataclass(frozen=True, slots=True, eq=False)
class PropensitySums(Stored):
    """`weights`: of the uniform policy, with what the probabilities imply for them. `actions`: taken and expected, by
    cell."""

    weights: WeightSums
    actions: ActionCounts

    def merged(self, other: PropensitySums) -> PropensitySums:
        return PropensitySums(
            self.weights.merged(other.weights), self.actions.merged(other.actions)
        )


@dataclass(frozen=True, slots=True)
class Propensity:
    """All arms together, since the log's probabilities are those of the whole lottery. `errors`, `p_value`: from which
    the log is wrong."""

    errors: float
    p_value: float
    name: str = "propensity"
    kind: Any = PropensitySums

    def of(self, rows: Sequence[Seen]) -> PropensitySums | None:
        found = choices_of(rows)
        if found is None:
            return None
        choices, cells = found
        weights = WeightSums.of(choices.uniform_ratio(), _moments(choices))
        return PropensitySums(weights, ActionCounts.of(choices, cells, CELLS))

    def read(self, window: PropensitySums, reference: Any, before: Any) -> list[Reading]:
        z, p = finite(abs(weight_z(window.weights))), action_p_value(window.actions)
        is_off, is_unlikely = z > self.errors, p < self.p_value
        return [
            Reading(
                signal="propensity", kind="weights", value=z, limit=self.errors, is_beyond=is_off
            ),
            Reading(
                signal="propensity",
                kind="actions",
                value=p,
                limit=self.p_value,
                is_beyond=is_unlikely,
                p_value=p,
            ),
        ]


def _moments(choices: Choices) -> Doubles:
    """`[T, 2]`: mean and variance of each weight; the latter is sum over A possible actions of 1 / (A^2 p), less 1."""
    p = choices.probability
    possible = segment_sum((p > 0).astype(np.float64), choices.offsets)
    inverse = segment_sum(np.where(p > 0, 1 / np.where(p > 0, p, 1.0), 0.0), choices.offsets)
    variance = np.maximum(inverse / possible**2 - 1, 0.0)
    return np.column_stack([np.ones_like(variance), variance])
