"""A binary tree of sums: draws in proportion to what its leaves hold, a whole batch at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agent_core.types import Doubles

_Positions = npt.NDArray[np.int64]


class SumTree:
    """`leaves` non-negative numbers, a power of two of them, all 0 at first.

    Every inner node is the sum of its two children and never changed by differences: what it holds
    depends on the leaves alone, to the last bit, and not on their history. Node 1 is the root, the
    children of node i are 2 i and 2 i + 1. 16 bytes for each leaf.
    """

    def __init__(self, leaves: int) -> None:
        self.leaves = leaves
        self._nodes = np.zeros(2 * leaves)

    @property
    def size_bytes(self) -> int:
        return self._nodes.nbytes

    def put(self, positions: _Positions, values: Doubles) -> None:
        """Sets the leaves at `positions` `[B]` to `values` `[B]`; of one that is named twice, to the last."""
        nodes, at = self._nodes, positions + self.leaves
        nodes[at] = values
        while (at := at >> 1).size and at[0]:
            nodes[at] = nodes[2 * at] + nodes[2 * at + 1]

    def put_one(self, position: int, value: float) -> None:
        """The same for one leaf, without numpy's price for each call: 2.3 us against 43 us for 131,072 leaves."""
        nodes, at = self._nodes, position + self.leaves
        nodes[at] = value
        while at := at >> 1:
            nodes[at] = nodes.item(2 * at) + nodes.item(2 * at + 1)

    def get(self, positions: _Positions) -> Doubles:
        """`[B]`: the leaves at `positions` `[B]`."""
        return self._nodes[positions + self.leaves]

    @property
    def total(self) -> float:
        return self._nodes.item(1)

    def find(self, fractions: Doubles) -> _Positions:
        """`[B]`: the leaf in which each of `fractions` `[B]` in [0, 1) of the total lies.

        Never one that holds 0, whatever the rounding; the total must be above 0.
        """
        nodes, rest = self._nodes, fractions * self.total
        at = np.ones(len(fractions), np.int64)
        while at[0] < self.leaves:
            at = 2 * at
            left = nodes[at]
            is_right = (rest >= left) & (nodes[at + 1] > 0)
            rest = np.where(is_right, rest - left, rest)
            at += is_right
        return at - self.leaves
