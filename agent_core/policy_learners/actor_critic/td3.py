"""Twin delayed deep deterministic policy gradient: Fujimoto, van Hoof & Meger 2018, algorithm 1."""

from __future__ import annotations

from typing import ClassVar, Literal

from agent_core.interfaces import Capability, PolicyLearner
from agent_core.policy_learners.box import DeterministicBoxPolicy
from agent_core.policy_learners.deterministic import (
    DeterministicLearner,
    TwinDelayedConfig,
    value_loss,
)
from agent_core.types import ProblemSpec


class Td3Config(TwinDelayedConfig):
    """Two critics of which the lower counts, a slower actor, and smoothed target actions."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"box", "sequential", "replay", "gradient", "td_error"}
    )
    kind: Literal["td3"] = "td3"

    def build_learner(self, policy: DeterministicBoxPolicy, spec: ProblemSpec) -> PolicyLearner:
        return DeterministicLearner(
            policy,
            value_loss,
            self,
            spec,
            critics=2,
            actor_period_updates=self.actor_period_updates,
            smoothing=self.smoothing,
            smoothing_limit=self.smoothing_limit,
        )
