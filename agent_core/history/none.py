"""No history."""

from __future__ import annotations

from typing import Literal

import numpy as np

from agent_core.interfaces import HistoryConfig
from agent_core.types import Floats, StateSummary

_NOTHING = np.zeros(0, np.float32)


class NoHistoryConfig(HistoryConfig):
    """The state is the observation of now."""

    kind: Literal["none"] = "none"

    def build(self, observation_dim: int, action_dim: int) -> NoHistory:
        del action_dim
        return NoHistory(observation_dim)


class NoHistory:
    """Carries nothing."""

    summary: StateSummary | None = None

    def __init__(self, observation_dim: int) -> None:
        self.state_dim = observation_dim

    def initial_carry(self) -> Floats:
        return _NOTHING

    def state(self, carry: Floats, observation: Floats) -> Floats:
        del carry
        return observation

    def advance(self, carry: Floats, observation: Floats, action: Floats) -> Floats:
        del observation, action
        return carry
