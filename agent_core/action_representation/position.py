"""Which id an action has, for learners that keep a model of each."""

from __future__ import annotations

from typing import ClassVar, Literal

from agent_core.action_representation.positions import MOST_ROWS, IdPositions
from agent_core.interfaces import ActionRepresentationConfig, Capability
from agent_core.types import Embedding


class PositionConfig(ActionRepresentationConfig):
    """One of 2^24 positions by the hash of the id, then the features.

    No id needs to be declared. Of 1000 ids, two share a position with a probability of 3 %.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"arms"})
    kind: Literal["position"] = "position"

    def build(self, feature_dim: int) -> IdPositions:
        return IdPositions((), MOST_ROWS, feature_dim)

    def embedding(self) -> Embedding:
        """Nothing is learned for a position by itself."""
        return Embedding(MOST_ROWS, 0)
