"""When updates are due."""

from __future__ import annotations

import math

from pydantic import Field

from agent_core.interfaces import ModuleConfig
from agent_core.training.engine.routing import Precision


class ScheduleConfig(ModuleConfig):
    """How much is learned from how much experience.

    `batch_size`: transitions per update. `updates_per_transition`: may be a fraction; 0 leaves updates
    to explicit requests. `updates_at_once`: updates are made when so many are due, from one draw of all their
    batches; with priorities, those of the first count for all. `warmup_transitions`: how many are only
    collected first. `tune_after_updates`: when faster forms of an update are looked for, in the background; a
    compiler needs a minute, so it pays only for what goes on for long. `precision`: how exact matrix products
    must be then; `bf16` rounds their factors to 8 bits, where the machine is faster so. `seed`: fixes the initial
    weights and the draws from the replay.
    """

    batch_size: int = Field(default=64, ge=1)
    updates_per_transition: float = Field(default=1.0, ge=0)
    updates_at_once: int = Field(default=8, ge=1)
    warmup_transitions: int = Field(default=64, ge=0)
    tune_after_updates: int = Field(default=100_000, ge=0)
    precision: Precision = "full"
    seed: int = Field(default=0, ge=0, lt=2**63)

    def updates_due(self, experience: int) -> int:
        """Updates owed in all after `experience` transitions: a function of the count alone, so that it
        does not matter in what portions they came."""
        counted = max(0, experience - self.warmup_transitions)
        # The tolerance gives 10 * 0.1 its whole update.
        due = math.floor(counted * self.updates_per_transition + 1e-9)
        return due - due % self.updates_at_once
