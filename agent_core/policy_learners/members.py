"""What learners with several opinions, each a policy of its own, have in common."""

from __future__ import annotations

import torch

from agent_core.functional.segments import segment_max
from agent_core.types import TransitionBatch


def members_target(
    next_members: torch.Tensor, batch: TransitionBatch, discount: float
) -> torch.Tensor:
    """`[B, K]`: reward + discount * the largest of each member's own `next_members` `[N, K]`.

    The target of Q-learning (Mnih et al. 2015) for each member by itself, as Osband et al. 2016 have it.
    """
    best = segment_max(next_members, batch.next_actions)
    bootstraps = discount * batch.bootstraps
    return batch.reward.unsqueeze(1) + bootstraps.unsqueeze(1) * best
