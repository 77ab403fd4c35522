"""Numbers drawn anew for each update, from nothing but the keys of its batch."""

from __future__ import annotations

import torch

from agent_core.functional.draws import splitmix, uniforms


def batch_keys(key: torch.Tensor) -> torch.Tensor:
    """`[B]` int64: a key for each place of a batch with the keys `key` `[B]`.

    They are a function of the batch as a whole, so another batch has others, a row that is in it twice
    has two, and no generator has to be saved.
    """
    places = torch.arange(len(key), device=key.device)
    return splitmix(key + places) ^ splitmix(key).sum()


def normals(keys: torch.Tensor, count: int) -> torch.Tensor:
    """`[B, count]` float32, standard normal and between -5.5 and 5.5, for `keys` `[B]` int64."""
    # The middle of each step of the 2^24: no infinity at its ends. Only double can tell it from 1.
    middles = uniforms(keys, count).double() + 2.0**-25
    normal: torch.Tensor = torch.special.ndtri(middles)
    return normal.float()
