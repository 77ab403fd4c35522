"""The last steps of an episode as one flat vector."""

from __future__ import annotations

import numpy as np

from agent_core.types import Floats, StateSummary


class Window:
    """Keeps the last L - 1 steps as they were, and the observation of now.

    A step is a row of F = 1 + O + D numbers: the flag 1, what was observed, and the action that was
    taken on it, which is zeros for the step of now (`agent_core/functional/windows.py` has the
    layout). The carry is the first L - 1 rows of the next state.

    `length`: L. `action_dim`: D; 0 leaves actions out. `summary`: how networks read the window.
    """

    def __init__(
        self,
        length: int,
        observation_dim: int,
        action_dim: int,
        summary: StateSummary | None = None,
    ) -> None:
        self.summary = summary
        self._row_dim = row_dim(observation_dim, action_dim)
        self._observed = slice(1, 1 + observation_dim)
        self._action_dim = action_dim
        self.state_dim = length * self._row_dim

    def initial_carry(self) -> Floats:
        return np.zeros(self.state_dim - self._row_dim, np.float32)

    def state(self, carry: Floats, observation: Floats) -> Floats:
        return np.concatenate((carry, self._row(observation)))

    def advance(self, carry: Floats, observation: Floats, action: Floats) -> Floats:
        row = self._row(observation)
        row[self._observed.stop :] = action[: self._action_dim]
        return np.concatenate((carry, row))[self._row_dim :]

    def _row(self, observation: Floats) -> Floats:
        row = np.zeros(self._row_dim, np.float32)
        row[0] = 1.0
        row[self._observed] = observation
        return row


def row_dim(observation_dim: int, action_dim: int) -> int:
    """F: the flag, the observation and the action."""
    return 1 + observation_dim + action_dim
