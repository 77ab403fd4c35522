"""The limits of a box of continuous actions, as numbers of 32 bits."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from agent_core.types import Box, Floats


@lru_cache(maxsize=128)
def inner_limits(box: Box) -> tuple[Floats, Floats]:
    """`(low [D], high [D])`: the outermost float32 numbers that are not beyond the limits of the box.

    Rounding to the nearest may leave it: the float32 nearest to 0.1 is above 0.1. Kept for each box, since
    explorations ask in every decision; so nobody can write to the result.
    """
    low, high = np.array(box.low), np.array(box.high)
    inner_low, inner_high = low.astype(np.float32), high.astype(np.float32)
    up, down = np.float32(np.inf), np.float32(-np.inf)
    inner_low = np.where(inner_low < low, np.nextafter(inner_low, up), inner_low)
    inner_high = np.where(inner_high > high, np.nextafter(inner_high, down), inner_high)
    inner_low.flags.writeable = inner_high.flags.writeable = False
    return inner_low, inner_high


def float32_step(box: Box) -> float:
    """How far neighbouring float32 numbers are apart at most, in shares of half a side of the box."""
    far = np.maximum(np.abs(box.low), np.abs(box.high)).astype(np.float32)
    halves = np.array(box.high) / 2 - np.array(box.low) / 2
    return float((np.spacing(far) / halves).max())
