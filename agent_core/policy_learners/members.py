"""What learners with several opinions, each a policy of its own, have in common."""

from __future__ import annotations

import torch

from agent_core.functional.segments import segment_max
from agent_core.types import TransitionBatch


def members_target(
    next_members: torch.Tensor, batch: TransitionBatch, discount: float
) -> torch.Tensor:
    """`[B, K]`: reward + discount * the largest of each member's own `next_members` `[N, K]`."""
    rows, members = len(batch.reward), next_members.shape[1]
    heads = torch.arange(members, device=next_members.device)
    cells = batch.next_actions.segments().unsqueeze(1) * members + heads
    best = segment_max(next_members.flatten(), cells.flatten(), rows * members)
    bootstraps = discount * batch.bootstraps
    return batch.reward.unsqueeze(1) + bootstraps.unsqueeze(1) * best.view(rows, members)
