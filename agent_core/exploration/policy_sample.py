"""The own distribution of a policy over continuous actions."""

from __future__ import annotations

from typing import ClassVar, Literal

from agent_core.interfaces import BoxScorer, Capability, ExplorationConfig
from agent_core.types import Box, Floats


class PolicySampleConfig(ExplorationConfig):
    """Plays what the policy draws, as learners ask for whose policy is a distribution (as Haarnoja et al. 2018,
    algorithm 1, collects its data); the density is the policy's own."""

    needs: ClassVar[frozenset[Capability]] = frozenset({"actor"})
    serves: ClassVar[frozenset[Literal["sets", "box"]]] = frozenset({"box"})
    kind: Literal["policy_sample"] = "policy_sample"

    def build_box(self) -> PolicySample:
        return PolicySample()


class PolicySample:
    """Adds nothing of its own."""

    def draw(
        self, scorer: BoxScorer, state: Floats, box: Box, *, experience: int, seed: int
    ) -> tuple[Floats, float]:
        return scorer.draw(state, seed)
