"""When updates are due."""

from __future__ import annotations

import math

from pydantic import Field

from agent_core.interfaces import ModuleConfig


class ScheduleConfig(ModuleConfig):
    """How much is learned from how much experience.

    `batch_size`: transitions per update. `updates_per_transition`: may be a fraction; 0 leaves updates
    to explicit requests. `warmup_transitions`: how many are only collected first. `seed`: fixes the
    initial weights and the draws from the replay.
    """

    batch_size: int = Field(default=64, ge=1)
    updates_per_transition: float = Field(default=1.0, ge=0)
    warmup_transitions: int = Field(default=64, ge=0)
    seed: int = Field(default=0, ge=0, lt=2**63)

    def updates_due(self, experience: int) -> int:
        """Updates owed in all after `experience` transitions: a function of the count alone, so that it
        does not matter in what portions they came."""
        counted = max(0, experience - self.warmup_transitions)
        # The tolerance gives 10 * 0.1 its whole update.
        return math.floor(counted * self.updates_per_transition + 1e-9)
