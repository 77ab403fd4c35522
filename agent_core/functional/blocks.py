"""Parts of blocks, and blocks of parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent_core.types import Integers, Mask, TransitionBlock


def part(block: TransitionBlock, start: int, stop: int) -> TransitionBlock:
    """The transitions `start` to `stop` - 1. Nothing is copied, so the part keeps the whole in memory."""
    return TransitionBlock(
        block.state[start:stop],
        block.next_state[start:stop],
        block.features,
        block.offsets[2 * start : 2 * stop + 1],
        block.facts[start:stop],
    )


def taken(block: TransitionBlock, positions: Integers) -> TransitionBlock:
    """A copy of the transitions at `positions` `[T]`, in that order."""
    sets = np.stack([2 * positions, 2 * positions + 1], 1).ravel()
    sizes = np.diff(block.offsets)[sets]
    return TransitionBlock(
        block.state[positions],
        block.next_state[positions],
        block.features[spans(block.offsets[sets], sizes)],
        ends(sizes),
        block.facts[positions],
    )


def those(block: TransitionBlock, is_in: Mask) -> TransitionBlock:
    """The transitions of which `is_in` `[T]` holds; the block itself where it holds of all."""
    return block if is_in.all() else taken(block, np.flatnonzero(is_in))


def joined(blocks: Sequence[TransitionBlock]) -> TransitionBlock:
    """The transitions of all `blocks`, of which there is one at least, in order."""
    tables = [one.features[one.offsets[0] : one.offsets[-1]] for one in blocks]
    return TransitionBlock(
        np.concatenate([one.state for one in blocks]),
        np.concatenate([one.next_state for one in blocks]),
        np.concatenate(tables),
        ends(np.concatenate([np.diff(one.offsets) for one in blocks])),
        np.concatenate([one.facts for one in blocks]),
    )


def spans(starts: Integers, sizes: Integers) -> Integers:
    """`[sum(sizes)]`: the numbers from each of `starts` on, as many as `sizes` says, one after the other."""
    before = np.cumsum(sizes) - sizes
    numbers: Integers = np.repeat(starts - before, sizes)
    numbers += np.arange(len(numbers))
    return numbers


def ends(sizes: Integers) -> Integers:
    """`[M + 1]`: where parts of these `sizes` `[M]` lie when one follows the other from 0."""
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


def width_of(sizes: Integers) -> int | None:
    """The size that all of `sizes` `[M]` are, 0 if there are none; None if they differ."""
    width = int(sizes[0]) if len(sizes) else 0
    return width if bool((sizes == width).all()) else None
