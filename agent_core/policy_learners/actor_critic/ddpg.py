"""Deep deterministic policy gradient: Lillicrap et al. 2016, algorithm 1.

Its noise is the business of an exploration module; `td3` is the same idea with three safeguards.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from agent_core.interfaces import Capability, PolicyLearner
from agent_core.policy_learners.box import DeterministicBoxPolicy
from agent_core.policy_learners.deterministic import (
    DeterministicConfig,
    DeterministicLearner,
    value_loss,
)
from agent_core.types import ProblemSpec


class DdpgConfig(DeterministicConfig):
    """One critic, and an actor that moves with it."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"box", "sequential", "replay", "gradient", "td_error"}
    )
    kind: Literal["ddpg"] = "ddpg"

    def build_learner(self, policy: DeterministicBoxPolicy, spec: ProblemSpec) -> PolicyLearner:
        return DeterministicLearner(policy, value_loss, self, spec, critics=1)
