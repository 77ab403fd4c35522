"""Where each number of a stored transition lies, and the columns that all batches share."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
import torch

from agent_core.types import Integers, Mask, RaggedActions

KEY, SET, NEXT_SET, ACTION, NEXT_ACTION = range(5)
"""Columns of links; in a box there is the key alone. Notes follow."""
SETS, SET_LINKS = slice(SET, NEXT_SET + 1), 5

Choice: TypeAlias = tuple[RaggedActions, torch.Tensor, RaggedActions, torch.Tensor]
"""The sets of a batch, the positions `[B]` chosen in them, and the same of what was available next."""


def sets_of(links: Integers, last_links: Integers, bootstraps: Mask, empty: int) -> Integers:
    """`[2 B]`: the sets of a batch, and then those available after `last_links`; `empty` is the empty set.

    Where nothing follows the set of now stands in, and counts for nothing: so a batch of sets of one size,
    with some ends of episodes in it, still is one of sets of one size.
    """
    next_sets = last_links[:, NEXT_SET]
    if bootstraps.any():
        next_sets = np.where(bootstraps | (next_sets != empty), next_sets, links[:, SET])
    return np.concatenate([links[:, SET], next_sets])


def alone(action: torch.Tensor) -> Choice:
    """Of sets of one, `action` `[B, D]`, after which nothing is known to have been done."""
    same = constants(len(action), action.device)
    following = RaggedActions(action[:0], same.zeros, 0)
    return RaggedActions(action, same.numbers, 1), same.zeros[1:], following, same.unknown


class Constants(NamedTuple):
    """Columns that all batches of B rows share. `numbers`: `[B + 1]`, 0 to B."""

    ones: torch.Tensor
    zeros: torch.Tensor
    numbers: torch.Tensor
    unknown: torch.Tensor


@lru_cache(maxsize=16)
def constants(size: int, device: torch.device) -> Constants:
    return Constants(
        ones=torch.ones(size, device=device),
        zeros=torch.zeros(size + 1, dtype=torch.int64, device=device),
        numbers=torch.arange(size + 1, device=device),
        unknown=torch.full((size,), -1, device=device),
    )
