"""Deep exploration: one member's opinion for a whole episode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from agent_core.functional.choice import uniform_from
from agent_core.interfaces import Capability, ExplorationConfig
from agent_core.types import ActionScores, Doubles


class DeepConfig(ExplorationConfig):
    """Plays what is best to one member, drawn anew for each episode (Osband et al. 2016, algorithm 1).

    The probability of an action is the share of the members that like it best, which is exact over
    episodes. Decisions of one episode share the member, so they are not independent of each other.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"members"})
    is_consistent: ClassVar[bool] = True
    kind: Literal["deep"] = "deep"

    def build(self) -> Deep:
        return Deep()


@dataclass(frozen=True, slots=True)
class Deep:
    """Where a member has several best actions, each gets an equal part of it."""

    def probabilities(self, scores: ActionScores, *, experience: int, seed: int) -> Doubles:
        assert scores.members is not None, "the configuration check demands members"
        is_best = scores.members == scores.members.max(axis=0)
        shares: Doubles = (is_best / is_best.sum(axis=0)).mean(axis=1)
        return shares

    def pick(self, scores: ActionScores, episode: int, *, experience: int) -> int:
        assert scores.members is not None, "the configuration check demands members"
        # The whole part says which member, the rest which of the actions that it likes equally.
        position = uniform_from(episode) * scores.members.shape[1]
        opinion = scores.members[:, int(position)]
        best = np.flatnonzero(opinion == opinion.max())
        return int(best[int(position % 1.0 * len(best))])
